//! Values kept in this host's memory, so that a hit costs no round trip.
//!
//! Each service has a bounded map of its own ([`Share`]); what ends the life of an entry
//! is told by [`Tracking`], once for all of them: an entry carries the stamp that its
//! key had before it was read, and is dropped by whoever finds that the key's stamp is
//! another by now. Expired entries go the same way. Neither is ever given out; until
//! somebody looks or the room is needed, it merely takes its place in the bound.
//!
//! The map is `quick_cache`: a hit takes the shared lock of one shard and marks the entry
//! with one atomic store; what is asked for once does not push out what is asked for again
//! and again (its policy is that of CLOCK-Pro and S3-FIFO); and an empty map reserves
//! nothing, which matters with a thousand services. `moka` knows expiry besides, but hands
//! each hit to a queue that is worked off later, and has such queues for each map.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderMap;
use quick_cache::sync::{Cache as Map, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::TTL_NEVER_MS;
use crate::capability::grants::KeyPatterns;
use crate::capability::redis::{Read, Stamp, Tracking};
use crate::limits::{KIB, NEAR_ENTRY_BYTES, NEAR_VALUE_SHARE};
use crate::manifest::CacheGrant;

/// Parts of a map with locks of their own: enough that a lock held for nanoseconds is
/// hardly ever waited for, and few enough that each has room for large values.
const SHARDS: usize = 4;

/// Keys of a service that are remembered as asked for once: 4 KiB of marks.
const ASKED_MARKS: usize = 1_024;

/// A value in this host's memory.
#[derive(Debug)]
pub struct NearEntry {
    /// The value, as it stands in Redis.
    pub value: Bytes,
    /// When its time in Redis ends, or a moment before; `None`: never.
    pub expires: Option<Instant>,
    /// The answer that was made of it last.
    pub rendition: ArcSwapOption<Rendition>,
    stamp: Stamp,
}

/// What a guest made of a value for one of its routes; the body is the value itself.
#[derive(Debug)]
pub struct Rendition {
    /// The version of the guest that made it. Another one may make it otherwise.
    pub version: Arc<str>,
    /// The template of the route that it answers.
    pub route: Arc<str>,
    /// The headers of the answer.
    pub headers: HeaderMap,
}

impl NearEntry {
    /// Milliseconds that the value has left at this moment, and [`TTL_NEVER_MS`] for one
    /// that never expires.
    pub fn ttl_ms(&self) -> u64 {
        let Some(expires) = self.expires else { return TTL_NEVER_MS };
        let left = expires.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }

    fn is_good(&self, key: &str, now: Instant, tracking: &Tracking) -> bool {
        self.expires.is_none_or(|expires| now < expires) && self.stamp == tracking.stamp(key)
    }
}

/// What one service keeps near.
pub(super) struct Share {
    entries: Map<Box<str>, Arc<NearEntry>, Bound, RandomState>,
    /// What was asked for lately, one mark for each key that falls into a place.
    asked: Box<[AtomicU32]>,
    hasher: RandomState,
    /// Never kept.
    private: KeyPatterns,
    entry_bytes_max: usize,
    pub(super) tracking: Arc<Tracking>,
}

impl Share {
    /// `None` if the grant switches it off.
    pub(super) fn new(grant: &CacheGrant, tracking: &Arc<Tracking>) -> Option<Self> {
        let bytes_max = grant.near_kib * KIB;
        if bytes_max == 0 {
            return None;
        }
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            // More than fit, and nothing is reserved for them; it only keeps the shards
            // of a small map from being too small.
            .estimated_items_capacity(bytes_max / NEAR_ENTRY_BYTES)
            .weight_capacity(bytes_max as u64)
            .build()
            .ok()?;
        Some(Self {
            entries: Map::with_options(options, Bound, RandomState::new(), DefaultLifecycle::default()),
            asked: (0..ASKED_MARKS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
            private: KeyPatterns::new(&grant.private),
            entry_bytes_max: bytes_max / NEAR_VALUE_SHARE,
            tracking: tracking.clone(),
        })
    }

    /// The entry under a key, if it may still be given out.
    pub(super) fn get(&self, key: &str) -> Option<Arc<NearEntry>> {
        let now = Instant::now();
        if !self.tracking.is_trusted(now) {
            return None;
        }
        let entry = self.entries.get(key)?;
        if entry.is_good(key, now, &self.tracking) {
            return Some(entry);
        }
        // Should somebody have put a newer one there meanwhile, it is read again.
        self.entries.remove(key);
        None
    }

    /// Notes that the key is asked for, and says whether it was before, so lately that no
    /// other key has taken its mark's place since.
    pub(super) fn note_asked(&self, key: &str) -> bool {
        let hash = self.hasher.hash_one(key);
        let [a, b, c, d, place @ ..] = hash.to_ne_bytes();
        let (mark, place) = (u32::from_ne_bytes([a, b, c, d]) | 1, u32::from_ne_bytes(place));
        self.asked[place as usize % ASKED_MARKS].swap(mark, Ordering::Relaxed) == mark
    }

    /// Whether the key may be kept at all.
    pub(super) fn wants(&self, key: &str) -> bool {
        !self.private.allow(key)
    }

    /// Keeps what was read, unless it is out of date already, or too large.
    pub(super) fn keep(&self, key: &str, value: &[u8], read: &Read) {
        let expires = match read.left_ms {
            -1 => None,
            // Redis counts from its own clock's last tick: up to a millisecond more.
            left => {
                Some(read.asked + Duration::from_millis(u64::try_from(left).unwrap_or(0).saturating_sub(1)))
            }
        };
        let stamp = read.stamp;
        if bytes(key, value) > self.entry_bytes_max || stamp != self.tracking.stamp(key) {
            return;
        }
        let value = Bytes::copy_from_slice(value);
        let entry = NearEntry { value, expires, rendition: ArcSwapOption::empty(), stamp };
        self.entries.insert(key.into(), Arc::new(entry));
    }
}

/// Bytes that an entry counts for.
fn bytes(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + NEAR_ENTRY_BYTES
}

#[derive(Clone)]
struct Bound;

impl Weighter<Box<str>, Arc<NearEntry>> for Bound {
    fn weight(&self, key: &Box<str>, entry: &Arc<NearEntry>) -> u64 {
        bytes(key, &entry.value) as u64
    }
}

/// What is counted about one service's near cache.
#[derive(Debug, Default)]
pub struct NearCounters {
    /// Lookups that were answered from this host's memory; each is also a hit.
    pub hits: AtomicU64,
    /// The map in use: a changed manifest makes a new one.
    share: Mutex<Weak<Share>>,
}

/// A service's near cache at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearUsage {
    /// Values that can be given out.
    pub entries: u64,
    /// What they count for.
    pub bytes: u64,
    /// How often everything was dropped at once since the host started.
    pub flushes: u64,
    /// Whether lookups are answered from it at all.
    pub trusted: bool,
}

impl NearCounters {
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, share: &Arc<Share>) {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(share);
    }

    /// `None` when the service has no near cache. What is out of date is dropped on
    /// this occasion.
    pub fn usage(&self) -> Option<NearUsage> {
        let share = self.share.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?;
        let now = Instant::now();
        share.entries.retain(|key, entry| entry.is_good(key, now, &share.tracking));
        Some(NearUsage {
            entries: share.entries.len() as u64,
            bytes: share.entries.weight(),
            flushes: share.tracking.flushes(),
            trusted: share.tracking.is_trusted(now),
        })
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Share").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}
