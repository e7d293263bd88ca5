//! A trace that is kept only if something happens in it.

use std::sync::{Mutex, PoisonError};

use super::tracer::Ended;
use crate::limits::SPANS_HELD_MAX;

/// The ended spans of one trace, until something has happened in it. Dropped with them when
/// nothing has.
#[derive(Debug)]
pub(super) struct Hold(Mutex<State>);

#[derive(Debug)]
enum State {
    Waiting(Vec<Ended>),
    /// Something has happened: the trace is like any other.
    Kept,
}

impl Default for Hold {
    fn default() -> Self {
        Self(Mutex::new(State::Waiting(Vec::new())))
    }
}

impl Hold {
    /// Takes a span, and gives those that are to be kept: none, or this one and all before it.
    pub(super) fn take(&self, ended: Ended, eventful: bool) -> Vec<Ended> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Waiting(spans) = &mut *state else { return vec![ended] };
        spans.push(ended);
        // So many of nothing are something.
        if !eventful && spans.len() < SPANS_HELD_MAX {
            return Vec::new();
        }
        match std::mem::replace(&mut *state, State::Kept) {
            State::Waiting(spans) => spans,
            State::Kept => Vec::new(),
        }
    }
}
