//! The newest events of a stream, so that who comes back at once needs no Redis, and who comes
//! from old events finds the new ones.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::{Cursor, Event};
use crate::limits::{SUBSCRIBER_BYTES_MAX, SUBSCRIBER_EVENTS_MAX};

/// An unbroken row of events up to the newest; never more than one subscriber's queue holds.
#[derive(Debug)]
pub(super) struct Tail {
    /// The place of the newest event, or where the reading began.
    pub(super) end: Cursor,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Tail {
    pub(super) fn new(end: Cursor) -> Self {
        Self { end, events: VecDeque::new(), bytes: 0 }
    }

    /// Adds the next event. False when it is not the one after the newest: what was here is
    /// forgotten then.
    pub(super) fn push(&mut self, event: Arc<Event>) -> bool {
        let follows = event.before == self.end;
        if !follows {
            *self = Self::new(event.before);
        }
        self.end = event.id;
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > SUBSCRIBER_EVENTS_MAX || self.bytes > SUBSCRIBER_BYTES_MAX {
            self.bytes -= self.events.pop_front().map_or(0, |event| event.bytes());
        }
        follows
    }

    /// The events after a place; `None` when the place is not in the row.
    pub(super) fn after(&self, cursor: Cursor) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let skipped = match self.events.front() {
            Some(first) if first.before == cursor => 0,
            _ if cursor == self.end => self.events.len(),
            _ => self.events.iter().position(|event| event.id == cursor)? + 1,
        };
        Some(self.events.iter().skip(skipped))
    }
}
