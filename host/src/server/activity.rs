//! What a connection is doing at this moment, so that each of its waits can have
//! its own deadline.
//!
//! hyper's `header_read_timeout` would also end an idle connection, since hyper
//! cannot tell a client that is slow to send a head from one that has nothing to
//! ask; and it makes a new timer for each request. Here a connection has one timer,
//! and its state says what that timer means.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};

use super::exchange::{Live, Upgrade};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The first byte of the first request.
    First,
    /// The rest of a head that has begun.
    Head,
    /// The next request.
    Idle,
    /// The answer, or the request's body: the exchange has deadlines of its own.
    Exchange,
    /// The client, to take bytes of an answer.
    Taking,
}

/// A moment of a connection; two equal ones mean that nothing has moved between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) wait: Wait,
    requests: u64,
    progress: u64,
}

/// Counters of one connection. The connection's task writes most of them; streams
/// of HTTP/2, tasks of their own, only end requests. Nothing is ordered by them, so
/// every access is relaxed.
#[derive(Debug, Default)]
pub(super) struct Activity {
    requests: AtomicU64,
    in_flight: AtomicUsize,
    sending: AtomicUsize,
    progress: AtomicU64,
    head_begun: AtomicBool,
    blocked: AtomicBool,
    answering: AtomicBool,
    ended: AtomicBool,
    narrow: AtomicBool,
    upgrade: Mutex<Option<Live>>,
}

impl Activity {
    pub(super) fn moment(&self) -> Moment {
        let requests = self.requests.load(Relaxed);
        let wait = if self.blocked.load(Relaxed) || self.sending.load(Relaxed) > 0 {
            Wait::Taking
        } else if self.in_flight.load(Relaxed) > 0 {
            Wait::Exchange
        } else if self.head_begun.load(Relaxed) {
            Wait::Head
        } else if requests == 0 {
            Wait::First
        } else {
            Wait::Idle
        };
        Moment { wait, requests, progress: self.progress.load(Relaxed) }
    }

    /// Bytes have come. Says whether they begin a head; those that come while a
    /// request is in flight are its body, or a pipelined head whose time has not
    /// begun.
    pub(super) fn received(&self) -> bool {
        let begins = self.in_flight.load(Relaxed) == 0 && !self.head_begun.load(Relaxed);
        if begins {
            self.head_begun.store(true, Relaxed);
        }
        begins
    }

    /// Whether a head has begun and not ended.
    pub(super) fn in_head(&self) -> bool {
        self.head_begun.load(Relaxed)
    }

    /// The client has closed its side.
    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Whether the client has closed its side.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// The socket takes no more bytes for now.
    pub(super) fn block(&self) {
        self.blocked.store(true, Relaxed);
    }

    /// The client has taken bytes.
    pub(super) fn taken(&self) {
        self.blocked.store(false, Relaxed);
        // One task alone writes it, so it needs no atomic addition.
        self.progress.store(self.progress.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// From here on the kernel is to hold little for the client.
    pub(super) fn narrow(&self) {
        self.narrow.store(true, Relaxed);
    }

    /// Whether it is to do so and has not been told. Once for each time.
    pub(super) fn take_narrow(&self) -> bool {
        // Nearly always false, and a load costs less than an exchange.
        self.narrow.load(Relaxed) && self.narrow.swap(false, Relaxed)
    }

    /// The connection is somebody else's when the answer has been sent.
    pub(super) fn hand_over(&self, to: Live) {
        *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
    }

    /// To whom the connection was handed over.
    pub(super) fn handed_over(&self) -> Option<Upgrade> {
        match self.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()? {
            Live::Upgrade(upgrade) => Some(upgrade),
            Live::Stream(_) => None,
        }
    }

    /// From here until [`Self::flushed`], bytes written may be an answer's.
    pub(super) fn answer(&self) {
        self.answering.store(true, Relaxed);
    }

    /// Everything that was written has left.
    pub(super) fn flushed(&self) {
        self.blocked.store(false, Relaxed);
        self.answering.store(false, Relaxed);
    }

    /// Whether bytes written now may be an answer's.
    pub(super) fn answering(&self) -> bool {
        self.answering.load(Relaxed)
    }
}

/// A request in flight: from its head until its answer's last byte has been handed
/// to the socket, or the connection is gone.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        activity.head_begun.store(false, Relaxed);
        activity.requests.store(activity.requests.load(Relaxed).wrapping_add(1), Relaxed);
        activity.in_flight.fetch_add(1, Relaxed);
        Self(Arc::clone(activity))
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// An answer's bytes on their way to the client.
#[derive(Debug)]
pub(super) enum Sending {
    /// All of them, and with them the end of the request.
    Whole(InFlight),
    /// Some, and more may come.
    Part(Arc<Activity>),
}

impl Sending {
    pub(super) fn begin(in_flight: InFlight) -> Self {
        in_flight.0.sending.fetch_add(1, Relaxed);
        Self::Whole(in_flight)
    }

    pub(super) fn begin_part(in_flight: &InFlight) -> Self {
        in_flight.0.sending.fetch_add(1, Relaxed);
        Self::Part(Arc::clone(&in_flight.0))
    }

    pub(super) fn progress(&self) {
        self.activity().taken();
    }

    fn activity(&self) -> &Activity {
        match self {
            Self::Whole(in_flight) => &in_flight.0,
            Self::Part(activity) => activity,
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.activity().sending.fetch_sub(1, Relaxed);
    }
}
