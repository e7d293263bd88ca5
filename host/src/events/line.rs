//! What waits for one subscriber.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::step::Gap;
use crate::limits::{SUBSCRIBER_BYTES_MAX, SUBSCRIBER_EVENTS_MAX};

/// Which events a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// The subject that they have. `None`: any, and none.
    pub(super) subject: Option<Box<str>>,
    /// The key that they have. `None`: any.
    pub(super) key: Option<Box<str>>,
}

impl Filter {
    pub(super) fn passes(&self, event: &Event) -> bool {
        self.subject.as_ref().is_none_or(|subject| event.subject.as_ref() == Some(subject))
            && self.key.as_ref().is_none_or(|key| *key == event.key)
    }
}

/// Something that a subscriber is told.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Event(Arc<Event>),
    Gap(Gap),
}

/// A queue with a bound, in which the hub never waits: beyond the bound the line is cut, and
/// what was in it is gone. The subscriber knows how far it has come.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) filter: Filter,
    queue: Mutex<Queue>,
    filled: Notify,
    cut: CancellationToken,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    cut: bool,
}

/// A line was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut;

impl Line {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, queue: Mutex::default(), filled: Notify::new(), cut: CancellationToken::new() }
    }

    /// Adds an item at the end. False when the line is cut, by this item or before.
    pub(super) fn push(&self, item: Item) -> bool {
        let mut queue = self.lock();
        if queue.cut {
            return false;
        }
        let bytes = item.bytes();
        if queue.items.len() >= SUBSCRIBER_EVENTS_MAX || queue.bytes + bytes > SUBSCRIBER_BYTES_MAX {
            *queue = Queue { cut: true, ..Queue::default() };
        } else {
            queue.bytes += bytes;
            queue.items.push_back(item);
        }
        let cut = queue.cut;
        drop(queue);
        if cut {
            self.cut.cancel();
        }
        self.filled.notify_one();
        !cut
    }

    /// The next item, if there is one already.
    pub(super) fn pop(&self) -> Result<Option<Item>, Cut> {
        let mut queue = self.lock();
        if queue.cut {
            return Err(Cut);
        }
        let item = queue.items.pop_front();
        queue.bytes -= item.as_ref().map_or(0, Item::bytes);
        Ok(item)
    }

    /// Waits until there may be something. One task at a time waits for a line.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until it is cut.
    pub(super) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole after every step.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => event.bytes(),
            Self::Gap(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Cursor;

    fn event(subject: Option<&str>, key: &str, bytes: usize) -> Arc<Event> {
        let id = "1-1".parse().unwrap();
        let (subject, key, kind) = (subject.map(Into::into), key.into(), "order.created".into());
        Arc::new(Event { id, before: Cursor::START, subject, key, kind, json: vec![b' '; bytes].into() })
    }

    fn line() -> Line {
        Line::new(Filter { subject: None, key: None })
    }

    #[test]
    fn a_line_holds_so_many_events_and_so_many_bytes_and_is_cut_beyond_that() {
        for (bytes, held) in [(1, SUBSCRIBER_EVENTS_MAX), (SUBSCRIBER_BYTES_MAX / 4, 4)] {
            let line = line();
            for _ in 0..held {
                assert!(line.push(Item::Event(event(None, "7", bytes))));
            }
            assert!(!line.push(Item::Event(event(None, "7", bytes))), "{held} are all that it holds");
            assert_eq!(line.pop().err(), Some(Cut), "and then it holds none of them");
            assert!(!line.push(Item::Event(event(None, "7", 1))), "it stays cut");
        }
    }

    #[test]
    fn what_is_taken_makes_room() {
        let line = line();
        for _ in 0..3 * SUBSCRIBER_EVENTS_MAX {
            assert!(line.push(Item::Event(event(None, "7", SUBSCRIBER_BYTES_MAX))));
            assert!(line.pop().unwrap().is_some());
        }
        assert!(line.pop().unwrap().is_none());
    }

    #[test]
    fn an_event_is_for_its_subject_alone_and_one_without_for_nobody_in_particular() {
        let passes = |subject: Option<&str>, key: Option<&str>, event: &Event| {
            Filter { subject: subject.map(Into::into), key: key.map(Into::into) }.passes(event)
        };
        let of_alice = event(Some("1"), "7", 1);
        assert!(passes(Some("1"), None, &of_alice) && passes(None, None, &of_alice));
        assert!(passes(Some("1"), Some("7"), &of_alice) && !passes(Some("1"), Some("70"), &of_alice));
        assert!(!passes(Some("2"), None, &of_alice) && !passes(Some("2"), Some("7"), &of_alice));
        let of_nobody = event(None, "7", 1);
        assert!(!passes(Some("1"), None, &of_nobody) && passes(None, None, &of_nobody));
    }
}
