//! The stream as this host has read it, and those who listen.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::event::{Cursor, Event};
use super::line::{Item, Line};
use super::stats::EventStats;
use super::step::Gap;
use super::tail::Tail;

/// One for each topic and host. One reader gives it the stream's events, and it hands them to
/// the lines, without ever waiting for one.
pub(super) struct Hub {
    state: Mutex<State>,
    /// How far the stream has been read; `None` until it was asked how far it goes.
    position: watch::Sender<Option<Cursor>>,
    closing: CancellationToken,
    stats: Arc<EventStats>,
}

#[derive(Default)]
struct State {
    tail: Option<Tail>,
    /// The lines of those who see everybody's events.
    all: Vec<Arc<Line>>,
    /// The others, by the subject that theirs have.
    by_subject: HashMap<Box<str>, Vec<Arc<Line>>>,
}

/// Whether a line gets new events now.
pub(super) enum Attached {
    /// It does, and holds those that came after the place that was asked for, up to here.
    Live(Cursor),
    /// The place is not among the newest events.
    Behind,
}

impl Hub {
    pub(super) fn new(stats: Arc<EventStats>) -> Self {
        Self {
            state: Mutex::default(),
            position: watch::Sender::new(None),
            closing: CancellationToken::new(),
            stats,
        }
    }

    /// How far the stream has been read, and each change of that.
    pub(super) fn position(&self) -> watch::Receiver<Option<Cursor>> {
        self.position.subscribe()
    }

    /// Cancelled when the host stops.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Where the reading begins. Only the first time: later the hub knows better.
    pub(super) fn begin(&self, at: Cursor) -> Cursor {
        let end = self.lock().tail.get_or_insert_with(|| Tail::new(at)).end;
        self.position.send_replace(Some(end));
        end
    }

    /// Hands an event to the lines it is for.
    pub(super) fn tell(&self, event: Event) {
        self.stats.received.fetch_add(1, Relaxed);
        let event = Arc::new(event);
        let mut state = self.lock();
        let State { tail, all, by_subject } = &mut *state;
        let tail = tail.get_or_insert_with(|| Tail::new(event.before));
        let before = tail.end;
        if !tail.push(event.clone()) {
            let gap = Gap { after: before, resume_from: event.before };
            tracing::warn!(after = %gap.after, resume_from = %gap.resume_from, "events: the stream has a gap");
            keep_whole(all, |line| line.push(Item::Gap(gap)));
            by_subject.values_mut().for_each(|lines| keep_whole(lines, |line| line.push(Item::Gap(gap))));
        }
        let push = |line: &Line| !line.filter.passes(&event) || line.push(Item::Event(event.clone()));
        keep_whole(all, push);
        if let Some(subject) = &event.subject
            && let Some(lines) = by_subject.get_mut(subject)
        {
            keep_whole(lines, push);
        }
        drop(state);
        self.position.send_replace(Some(event.id));
    }

    /// Lets a line have new events from now on, if those since `after` are at hand; without
    /// a place, from now on.
    pub(super) fn attach(&self, line: &Arc<Line>, after: Option<Cursor>) -> Attached {
        let mut state = self.lock();
        let State { tail: Some(tail), all, by_subject } = &mut *state else { return Attached::Behind };
        let end = tail.end;
        let Some(missed) = tail.after(after.unwrap_or(end)) else { return Attached::Behind };
        // They fit: the tail is half as long as a line.
        for event in missed.filter(|event| line.filter.passes(event)) {
            line.push(Item::Event(event.clone()));
        }
        match &line.filter.subject {
            None => all.push(line.clone()),
            Some(subject) => by_subject.entry(subject.clone()).or_default().push(line.clone()),
        }
        Attached::Live(end)
    }

    /// Takes a line out, if it is there.
    pub(super) fn detach(&self, line: &Arc<Line>) {
        let mut state = self.lock();
        let others = |other: &Arc<Line>| !Arc::ptr_eq(other, line);
        match &line.filter.subject {
            None => state.all.retain(others),
            Some(subject) => {
                if let Some(lines) = state.by_subject.get_mut(subject) {
                    lines.retain(others);
                    if lines.is_empty() {
                        state.by_subject.remove(subject);
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of the lines that are cut.
fn keep_whole(lines: &mut Vec<Arc<Line>>, mut push: impl FnMut(&Line) -> bool) {
    lines.retain(|line| push(line));
}
