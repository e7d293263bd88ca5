//! What is counted of a topic's events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::step::End;
use crate::manifest::EventForm;

/// Counters of one topic on one host, read by the metrics page.
#[derive(Debug, Default)]
pub struct EventStats {
    /// Subscribers now, by form.
    open: [AtomicU64; 2],
    /// Events read of the stream.
    pub received: AtomicU64,
    /// Events handed to subscribers' sockets.
    pub delivered: AtomicU64,
    /// Gaps that were told.
    pub gaps: AtomicU64,
    /// Subscribers that were refused because there were too many.
    pub refused: AtomicU64,
    /// Subscribers that were closed, by [`End`].
    ended: [AtomicU64; End::ALL.len()],
    /// Rows moved to the stream by this host.
    pub moved: AtomicU64,
    /// Rows that wait in the outbox, when they were last counted.
    pub waiting: AtomicU64,
    /// How long the oldest of the last moved rows had waited, in microseconds.
    lag_us: AtomicU64,
    /// Whether this host is the one to fill the stream.
    pub filling: AtomicU64,
}

/// A subscriber, for as long as it is one.
#[derive(Debug)]
pub(super) struct Open {
    stats: Arc<EventStats>,
    form: EventForm,
}

impl EventStats {
    /// Subscribers now, by form.
    pub fn open(&self) -> [(&'static str, u64); 2] {
        let [sse, websocket] = &self.open;
        [("sse", sse.load(Relaxed)), ("websocket", websocket.load(Relaxed))]
    }

    /// Subscribers that the host has closed, by reason.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        End::ALL.into_iter().map(|end| (end.reason(), self.ended[end as usize].load(Relaxed)))
    }

    /// How long a row waits before it is moved, in seconds.
    pub fn lag_s(&self) -> f64 {
        Duration::from_micros(self.lag_us.load(Relaxed)).as_secs_f64()
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn count_end(&self, end: End) {
        self.ended[end as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn lag(&self, seconds: f64) {
        let lag = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
        self.lag_us.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn enter(self: &Arc<Self>, form: EventForm) -> Open {
        self.open[form as usize].fetch_add(1, Relaxed);
        Open { stats: self.clone(), form }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stats.open[self.form as usize].fetch_sub(1, Relaxed);
    }
}
