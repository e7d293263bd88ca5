//! What a service's rate limits decided.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a decision was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy {
    /// What Redis had lent or said before, or that too many ask: nobody was asked.
    Memory,
    /// Redis.
    Redis,
    /// This host's own share, because Redis did not answer in time.
    Host,
}

impl DecidedBy {
    const ALL: [Self; 3] = [Self::Memory, Self::Redis, Self::Host];

    /// The label's value.
    fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Host => "host",
        }
    }
}

/// Requests that were let pass and refused.
#[derive(Debug, Default)]
pub struct LimitCounters([[AtomicU64; 2]; DecidedBy::ALL.len()]);

impl LimitCounters {
    /// Counts one decision.
    pub fn count(&self, by: DecidedBy, passed: bool) {
        self.0[by as usize][usize::from(passed)].fetch_add(1, Relaxed);
    }

    /// How often something was decided so.
    pub fn get(&self, by: DecidedBy, passed: bool) -> u64 {
        self.0[by as usize][usize::from(passed)].load(Relaxed)
    }

    /// All of them, by what they were decided, with the result in one word.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        DecidedBy::ALL.into_iter().flat_map(|by| {
            [(true, "passed"), (false, "refused")]
                .map(|(passed, result)| (by.as_str(), result, self.get(by, passed)))
        })
    }
}
