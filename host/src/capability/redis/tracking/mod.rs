//! Reads of which Redis itself says when they are out of date: client-side caching
//! (`CLIENT TRACKING`, RESP3).
//!
//! **A connection of its own.** What is read over it is tracked, and nothing else is:
//! the shared connection keeps its protocol (RESP3 would change the types of replies), a
//! proxy that knows no RESP3 costs the near cache and nothing more, no `CLIENT CACHING
//! YES` goes before each read, and no large value of somebody else's delays an
//! invalidation. The price is one connection for each host, opened when the first
//! service wants it.
//!
//! **An invalidation that overtakes a reply.** Redis sends both in order on the one
//! connection, and the driver gives an invalidation to [`Tracking::told`] before it
//! reads on; but the task that waits for the reply runs later, when the next
//! invalidation may have been heard. So a reader takes the key's [`Stamp`] before the
//! read is sent, what it has read carries that stamp, and it is good only while the
//! stamp is the key's (`changes.rs`).
//!
//! **A connection that breaks or falls silent.** Everything is forgotten the moment the
//! connection is known to be lost; a connection that is silent without being closed
//! would hide invalidations, so what was read is trusted only if Redis has answered a
//! question *asked* within [`NEAR_TRUST_MAX`]: every change from before that question
//! has then been heard. What another host writes may be missed for so long and no
//! longer, in the ordinary case for the time that one push takes.
//!
//! **Writes of this host** need no push: [`Tracking::writing`] surrounds each of them, so
//! they are seen by whoever reads after they have returned.

mod changes;
mod supervisor;
mod writing;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{Client, ProtocolVersion, PushInfo, PushKind, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use changes::Changes;
pub use changes::Stamp;
use writing::Writing;

use crate::limits::{NEAR_TRUST_MAX, REDIS_COMMAND_TIMEOUT};

/// Tracked reads, and what has changed since.
pub struct Tracking {
    client: Client,
    runtime: Handle,
    supervisor: OnceLock<AbortHandle>,
    changes: Changes,
    /// What the times below are counted from.
    started: Instant,
    /// Nanoseconds until which Redis counts as heard; 0 without a connection.
    trusted_until_ns: AtomicU64,
    current: ArcSwapOption<Tracked>,
    /// Numbers the connections. What is said about an earlier one is too late.
    term: Mutex<u64>,
    alarm: Notify,
}

/// The connection in use.
struct Tracked {
    term: u64,
    connection: MultiplexedConnection,
}

/// What was read, with all that is needed to keep it.
pub struct Read {
    /// The value, if there is one.
    pub value: Option<Vec<u8>>,
    /// Milliseconds that the key has left; -1: it never expires.
    pub left_ms: i64,
    /// When the read was sent: the key's time ends `left_ms` after this, or later.
    pub asked: Instant,
    /// The key's stamp from before that.
    pub stamp: Stamp,
}

impl Tracking {
    /// Nothing is connected before [`Tracking::start`].
    ///
    /// # Errors
    ///
    /// When the connection string cannot be used.
    pub(super) fn new(client: &Client) -> RedisResult<Self> {
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self {
            client: Client::open(info.set_redis_settings(settings))?,
            runtime: Handle::current(),
            supervisor: OnceLock::new(),
            changes: Changes::new(),
            started: Instant::now(),
            trusted_until_ns: AtomicU64::new(0),
            current: ArcSwapOption::empty(),
            term: Mutex::new(0),
            alarm: Notify::new(),
        })
    }

    /// Connects in the background, and anew whenever that is needed. A second call does
    /// nothing.
    pub fn start(self: &Arc<Self>) {
        self.supervisor.get_or_init(|| {
            let supervised = self.clone();
            self.runtime.spawn(supervised.supervise()).abort_handle()
        });
    }

    /// Gives the connection up for good.
    pub(super) fn stop(&self) {
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.abort();
        }
        let term = *self.lock_term();
        self.lose(term);
    }

    /// Whether Redis was heard lately enough to be sure that no change was missed.
    pub fn is_trusted(&self, now: Instant) -> bool {
        self.nanos(now) < self.trusted_until_ns.load(Ordering::Acquire)
    }

    /// What a value that is about to be read must carry.
    pub fn stamp(&self, key: &str) -> Stamp {
        self.changes.stamp(key.as_bytes())
    }

    /// How often everything was forgotten at once.
    pub fn flushes(&self) -> u64 {
        self.changes.flushes()
    }

    /// The keys are being written until the guard is dropped: what was read before does
    /// not outlast it.
    pub(crate) fn writing<'a, K: AsRef<[u8]>>(&'a self, keys: &'a [K]) -> Writing<'a, K> {
        Writing::new(&self.changes, keys)
    }

    /// A value came from somewhere else: what is known of the key may be older.
    pub(crate) fn overtaken(&self, key: &str) {
        self.changes.changed(key.as_bytes());
    }

    /// Forgets everything.
    pub(crate) fn flush(&self) {
        self.changes.all_changed();
    }

    /// Reads a key so that Redis tells when it changes. `None` when it cannot be
    /// trusted to, or does not answer; ask over the shared connection then.
    pub async fn read(&self, key: &str) -> Option<Read> {
        // Before the connection: were it lost in between, the stamp would be void.
        let stamp = self.stamp(key);
        let tracked = self.current.load_full()?;
        let asked = Instant::now();
        if !self.is_trusted(asked) {
            return None;
        }
        let mut both = redis::pipe();
        both.cmd("GET").arg(key).cmd("PTTL").arg(key);
        let mut connection = tracked.connection.clone();
        match within(REDIS_COMMAND_TIMEOUT, both.query_async(&mut connection)).await {
            Ok((value, left_ms)) => Some(Read { value, left_ms, asked, stamp }),
            Err(error) => {
                tracing::debug!(key, %error, "no tracked read");
                // Whether the connection is still good is for the supervisor to find out.
                self.alarm.notify_one();
                None
            }
        }
    }

    /// What Redis, or the driver, says by itself on the connection of this term.
    fn told(&self, term: u64, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Invalidate, [Value::Array(keys), ..]) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) => self.changes.changed(key),
                        Value::SimpleString(key) => self.changes.changed(key.as_bytes()),
                        _ => self.changes.all_changed(),
                    }
                }
            }
            // Nil stands for every key, and what nobody understands is taken so too.
            (PushKind::Invalidate, _) => self.changes.all_changed(),
            (PushKind::Disconnection, _) => self.lose(term),
            _ => {}
        }
    }

    /// Ends the term's connection: nothing that was read over it is good any more.
    fn lose(&self, term: u64) {
        let mut current = self.lock_term();
        if *current != term {
            return;
        }
        *current += 1;
        // In this order: a reader that still finds the connection has an older stamp.
        self.current.store(None);
        self.trusted_until_ns.store(0, Ordering::Release);
        self.changes.all_changed();
        drop(current);
        self.alarm.notify_one();
    }

    /// Redis has answered on the term's connection what was asked then; `fresh` is that
    /// connection if it is not in use yet. False when it has been lost meanwhile.
    fn heard(&self, term: u64, asked: Instant, fresh: Option<Arc<Tracked>>) -> bool {
        let current = self.lock_term();
        if *current != term {
            return false;
        }
        if fresh.is_some() {
            self.current.store(fresh);
        }
        self.trusted_until_ns.fetch_max(self.nanos(asked + NEAR_TRUST_MAX), Ordering::AcqRel);
        true
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock_term(&self) -> MutexGuard<'_, u64> {
        // No code that can panic runs under the lock.
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn within<T>(limit: Duration, command: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    timeout(limit, command).await.map_err(|_| timed_out())?
}
