//! The newest events of a stream, so that who comes back at once needs no Redis, and who comes
//! from old events finds the new ones.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::{Cursor, Event};
use crate::limits::{SUBSCRIBER_BYTES_MAX, SUBSCRIBER_EVENTS_MAX};

/// Half of what one subscriber's queue holds: who is given all of it has as much room again for
/// what is told before it has taken the first.
const EVENTS_MAX: usize = SUBSCRIBER_EVENTS_MAX / 2;
/// And of its bytes.
const BYTES_MAX: usize = SUBSCRIBER_BYTES_MAX / 2;

/// An unbroken row of events up to the newest.
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
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: usize) -> Cursor {
        format!("1-{seq}").parse().unwrap()
    }

    fn event(seq: usize, before: usize, bytes: usize) -> Arc<Event> {
        let (key, kind, json) = ("7".into(), "order.created".into(), vec![b' '; bytes].into());
        Arc::new(Event { id: place(seq), before: place(before), subject: None, key, kind, json })
    }

    fn after(tail: &Tail, seq: usize) -> Option<Vec<Cursor>> {
        Some(tail.after(place(seq))?.map(|event| event.id).collect())
    }

    #[test]
    fn it_knows_what_follows_each_of_its_places_and_no_other() {
        let mut tail = Tail::new(place(4));
        assert_eq!((after(&tail, 4), after(&tail, 3)), (Some(vec![]), None));
        assert!(tail.push(event(5, 4, 1)) && tail.push(event(9, 5, 1)));
        assert_eq!(after(&tail, 4), Some(vec![place(5), place(9)]));
        assert_eq!(after(&tail, 5), Some(vec![place(9)]));
        assert_eq!(after(&tail, 9), Some(vec![]));
        assert_eq!((after(&tail, 3), after(&tail, 7), after(&tail, 10)), (None, None, None));
        // One that does not follow: what came before it cannot be told without a gap.
        assert!(!tail.push(event(12, 11, 1)));
        assert_eq!((after(&tail, 9), after(&tail, 11)), (None, Some(vec![place(12)])));
    }

    #[test]
    fn it_holds_half_of_what_a_line_does() {
        for (bytes, held) in [(1, EVENTS_MAX), (BYTES_MAX / 4, 4)] {
            let mut tail = Tail::new(place(0));
            for seq in 1..=2 * EVENTS_MAX {
                assert!(tail.push(event(seq, seq - 1, bytes)));
            }
            let oldest = 2 * EVENTS_MAX - held;
            assert_eq!(after(&tail, oldest).map(|after| after.len()), Some(held));
            assert_eq!(after(&tail, oldest - 1), None);
        }
    }
}
