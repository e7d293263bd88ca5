//! What a service counts by itself, and its turns in the background.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::limits::{OWN_EVENT_CHARS_MAX, OWN_EVENTS_MAX};

/// Events that a service has names for, as saga_completed. Their number is bounded, and so
/// are the labels that come of them.
#[derive(Debug, Default)]
pub struct OwnEvents(Mutex<BTreeMap<String, u64>>);

impl OwnEvents {
    /// Counts so many of an event. What has no legal name, or is one name too many, is not
    /// counted.
    pub fn add(&self, event: &str, by: u64) {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if event.is_empty() || event.len() > OWN_EVENT_CHARS_MAX || !event.bytes().all(legal) {
            return;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(event) {
            *count = count.saturating_add(by);
        } else if counts.len() < OWN_EVENTS_MAX {
            counts.insert(event.to_owned(), by);
        }
    }

    /// All of them, in the order of their names.
    pub fn read(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a turn in the background ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOutcome {
    /// As it should.
    Done,
    /// With an error of the guest's, a trap, or at its deadline.
    Failed,
    /// It was ended, because another host may have the next one.
    Lost,
}

/// A service's turns on this host.
#[derive(Debug, Default)]
pub struct TurnCounts {
    outcomes: [AtomicU64; 3],
    took_us: AtomicU64,
    parked: AtomicU64,
}

impl TurnCounts {
    /// Counts one.
    pub fn add(&self, outcome: TurnOutcome, took: Duration) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        self.took_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many ended in which way, every way.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ["done", "failed", "lost"].into_iter().zip(self.outcomes.iter().map(|count| count.load(Relaxed)))
    }

    /// So much of the service's work waits for an operator.
    pub fn parked_now(&self, parked: u64) {
        self.parked.store(parked, Relaxed);
    }

    /// How much waited for an operator when the service was last asked.
    pub fn parked(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    /// The time that all of them took together.
    pub fn took(&self) -> Duration {
        Duration::from_micros(self.took_us.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_events_are_few_and_plain() {
        let events = OwnEvents::default();
        for name in ["", "Saga", "saga-started", "saga started", &"x".repeat(OWN_EVENT_CHARS_MAX + 1)] {
            events.add(name, 1);
        }
        assert!(events.read().is_empty());
        for number in 0..OWN_EVENTS_MAX * 2 {
            events.add(&format!("event_{number}"), 2);
            events.add("event_0", 1);
        }
        let read = events.read();
        assert_eq!(read.len(), OWN_EVENTS_MAX);
        assert_eq!(read["event_0"], 2 + 2 * OWN_EVENTS_MAX as u64);
    }

    #[test]
    fn turns_are_counted_by_their_ends() {
        let turns = TurnCounts::default();
        turns.add(TurnOutcome::Done, Duration::from_millis(2));
        turns.add(TurnOutcome::Lost, Duration::from_millis(1));
        assert_eq!(turns.outcomes().collect::<Vec<_>>(), [("done", 1), ("failed", 0), ("lost", 1)]);
        assert_eq!(turns.took(), Duration::from_millis(3));
    }
}
