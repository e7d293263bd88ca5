//! All open connections: how many there may be, and how they end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::stats::ConnectionStats;

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that came to their own end.
    pub finished: usize,
    /// Connections cut off at the deadline.
    pub aborted: usize,
}

/// The open connections. Each is a task; it is entered before it runs and leaves
/// when it is dropped, whichever way it ends.
#[derive(Debug)]
pub(super) struct Connections {
    stats: Arc<ConnectionStats>,
    draining: AtomicBool,
    next: AtomicU64,
    live: Mutex<HashMap<u64, Live>>,
    left: Notify,
}

#[derive(Debug)]
struct Live {
    abort: AbortHandle,
    /// Set once the connection has a state in which a drain concerns it.
    waker: Option<Waker>,
}

/// A connection's place among the open ones.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    id: u64,
}

impl Connections {
    pub(super) fn new(stats: Arc<ConnectionStats>) -> Self {
        Self {
            stats,
            draining: AtomicBool::new(false),
            next: AtomicU64::new(0),
            live: Mutex::default(),
            left: Notify::new(),
        }
    }

    pub(super) fn stats(&self) -> &Arc<ConnectionStats> {
        &self.stats
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Runs `connection` for `stream` as a task of its own, if there are fewer than
    /// `max`; otherwise gives `stream` back.
    pub(super) fn spawn<S, F>(
        self: &Arc<Self>,
        max: usize,
        stream: S,
        connection: impl FnOnce(S, Place) -> F,
    ) -> Result<(), S>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.next.fetch_add(1, Relaxed);
        // The task may end at once; the lock makes it leave after it was entered.
        let mut live = self.live();
        if live.len() >= max {
            drop(live);
            self.stats.turned_away.fetch_add(1, Relaxed);
            return Err(stream);
        }
        let task = tokio::spawn(connection(stream, Place { connections: Arc::clone(self), id }));
        live.insert(id, Live { abort: task.abort_handle(), waker: None });
        self.stats.open.fetch_add(1, Relaxed);
        self.stats.accepted.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Tells every connection to end after the answers it owes. Connections accepted
    /// from here on learn it by themselves.
    pub(super) fn begin_drain(&self) {
        self.draining.store(true, Relaxed);
        let live = self.live();
        for waker in live.values().filter_map(|connection| connection.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// Waits until the last connection has left, and cuts off those that have not by
    /// `deadline`.
    pub(super) async fn drained(&self, deadline: Instant) -> Drained {
        let open = self.live().len();
        let all_left = async {
            while !self.live().is_empty() {
                self.left.notified().await;
            }
        };
        if timeout_at(deadline, all_left).await.is_ok() {
            return Drained { finished: open, aborted: 0 };
        }
        let aborted = {
            let live = self.live();
            live.values().for_each(|connection| connection.abort.abort());
            live.len()
        };
        self.stats.aborted.fetch_add(aborted as u64, Relaxed);
        Drained { finished: open.saturating_sub(aborted), aborted }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<u64, Live>> {
        // The map is whole after every step, so a panic elsewhere leaves it usable.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Whom to wake when a drain begins. The waker is the task's own, which stays
    /// the same for its whole life.
    pub(super) fn wake_on_drain(&self, waker: &Waker) {
        if let Some(connection) = self.connections.live().get_mut(&self.id) {
            connection.waker = Some(waker.clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut live = self.connections.live();
        live.remove(&self.id);
        drop(live);
        self.connections.stats.open.fetch_sub(1, Relaxed);
        self.connections.left.notify_one();
    }
}
