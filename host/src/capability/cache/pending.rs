//! Invalidations that could not be delivered, kept until they can be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::{CACHE_PENDING_MAX, REDIS_KEYS_MAX};

/// While anything is pending the cache is not trusted: the store may hold a value
/// from before a write.
#[derive(Default)]
pub(super) struct Pending {
    /// Read by every lookup, so kept outside the lock.
    any: AtomicBool,
    owed: Mutex<Owed>,
}

#[derive(Default)]
struct Owed {
    /// Each with the number of the addition that named it last.
    keys: BTreeMap<String, u64>,
    /// More were owed than may be kept: everything is taken out instead.
    everything: bool,
    /// Grows with each addition: what was added while a part of it was being
    /// delivered may have come too late for that, and stays.
    additions: u64,
    /// A task is delivering.
    delivering: bool,
}

/// A part of what is owed.
pub(super) enum Batch {
    /// With the number of additions at this moment.
    Keys(Vec<String>, u64),
    /// With the number of additions at this moment.
    Everything(u64),
}

impl Pending {
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Adds keys. True when a task to deliver them must be started.
    pub(super) fn add(&self, keys: &[String]) -> bool {
        let mut owed = self.lock();
        self.any.store(true, Ordering::Release);
        owed.additions += 1;
        if !owed.everything {
            let addition = owed.additions;
            owed.keys.extend(keys.iter().map(|key| (key.clone(), addition)));
            if owed.keys.len() > CACHE_PENDING_MAX {
                owed.everything = true;
                owed.keys.clear();
            }
        }
        !std::mem::replace(&mut owed.delivering, true)
    }

    /// The next part to deliver. `None`: all is delivered, the cache is trusted again
    /// and the delivering task is done.
    pub(super) fn next(&self) -> Option<Batch> {
        let mut owed = self.lock();
        if owed.everything {
            return Some(Batch::Everything(owed.additions));
        }
        if owed.keys.is_empty() {
            owed.delivering = false;
            self.any.store(false, Ordering::Release);
            return None;
        }
        Some(Batch::Keys(owed.keys.keys().take(REDIS_KEYS_MAX).cloned().collect(), owed.additions))
    }

    /// A part has been delivered.
    pub(super) fn delivered(&self, batch: Batch) {
        let mut owed = self.lock();
        match batch {
            Batch::Keys(keys, additions) => {
                for key in keys {
                    if owed.keys.get(&key).is_some_and(|addition| *addition <= additions) {
                        owed.keys.remove(&key);
                    }
                }
            }
            Batch::Everything(additions) => owed.everything = owed.additions != additions,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    #[test]
    fn trusted_again_only_when_all_is_delivered() {
        let pending = Pending::default();
        assert!(!pending.any());
        assert!(pending.add(&key("a")), "the first addition starts the delivery");
        assert!(!pending.add(&key("b")));
        let batch = pending.next().expect("two keys");
        assert!(pending.any());
        pending.delivered(batch);
        assert!(pending.next().is_none());
        assert!(!pending.any());
        assert!(pending.add(&key("c")), "a later one starts it anew");
    }

    #[test]
    fn a_key_added_during_its_delivery_is_delivered_again() {
        let pending = Pending::default();
        pending.add(&key("a"));
        let batch = pending.next().expect("one key");
        pending.add(&key("a"));
        pending.delivered(batch);
        assert!(matches!(pending.next(), Some(Batch::Keys(keys, _)) if keys == key("a")));
    }

    #[test]
    fn beyond_the_bound_everything_is_owed_until_a_purge_was_in_time() {
        let pending = Pending::default();
        let many: Vec<_> = (0..=CACHE_PENDING_MAX).map(|n| n.to_string()).collect();
        pending.add(&many);
        let batch = pending.next().expect("everything");
        assert!(matches!(batch, Batch::Everything(_)));
        pending.add(&key("late"));
        pending.delivered(batch);
        let batch = pending.next().expect("once more");
        pending.delivered(batch);
        assert!(pending.next().is_none());
    }
}
