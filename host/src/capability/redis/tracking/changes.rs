//! Which keys have changed, as far as this host knows.
//!
//! A key has no entry of its own: it shares a counter with the keys of the same hash.
//! So telling of a change is one addition, however many services hold the key and
//! whether they hold it at all; and a reader's mark needs no cleaning up when the reader
//! is gone. That two keys share a counter costs a needless read now and then.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::limits::CHANGE_COUNTERS;

/// Counts changes by key.
pub(super) struct Changes {
    counters: Box<[AtomicU64]>,
    /// Changes of every key at once.
    flushes: AtomicU64,
    /// Nobody can choose keys that share a counter.
    seed: u64,
}

/// The moment at which a key was about to be read. As long as `Changes::stamp` gives
/// the same for the key, nobody has told of a change since.
///
/// It is a sum of two counts that only grow, and so stays the same only if both do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64);

impl Changes {
    pub(super) fn new() -> Self {
        let counters = (0..CHANGE_COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { counters, flushes: AtomicU64::new(0), seed: RandomState::new().hash_one(()) }
    }

    pub(super) fn stamp(&self, key: &[u8]) -> Stamp {
        let changes = self.counter(key).load(Ordering::Acquire);
        Stamp(changes.wrapping_add(self.flushes.load(Ordering::Acquire)))
    }

    pub(super) fn changed(&self, key: &[u8]) {
        self.counter(key).fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn all_changed(&self) {
        self.flushes.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    fn counter(&self, key: &[u8]) -> &AtomicU64 {
        let hash = xxh3_64_with_seed(key, self.seed);
        // Their number is a power of two.
        #[expect(clippy::cast_possible_truncation, reason = "the mask is applied to what is left")]
        &self.counters[hash as usize & (CHANGE_COUNTERS - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_good_until_its_key_or_every_key_changes() {
        const { assert!(CHANGE_COUNTERS.is_power_of_two()) };
        let changes = Changes::new();
        let stamp = changes.stamp(b"a");
        assert_eq!(stamp, changes.stamp(b"a"));
        changes.changed(b"a");
        let later = changes.stamp(b"a");
        assert_ne!(stamp, later);
        changes.all_changed();
        assert_ne!(later, changes.stamp(b"a"));
        assert_eq!(changes.flushes(), 1);
    }

    #[test]
    fn hardly_any_key_shares_its_counter() {
        let changes = Changes::new();
        let stamps: Vec<_> = (0..1_000).map(|n| changes.stamp(format!("users:{n}").as_bytes())).collect();
        changes.changed(b"users:1000");
        let shared = (0..1_000).filter(|&n| stamps[n] != changes.stamp(format!("users:{n}").as_bytes()));
        assert!(shared.count() < 5);
    }
}
