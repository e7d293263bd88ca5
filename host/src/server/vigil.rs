//! The one timer of a connection: what it waits for decides when it goes off.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Moment, Wait};
use super::drain::Place;
use crate::limits;
use crate::manifest::ServerLimits;

/// Watches over a connection's waits.
pub(super) struct Vigil {
    header: Duration,
    idle: Duration,
    write: Duration,
    sleep: Pin<Box<Sleep>>,
    place: Place,
    /// What was seen last, and whether a drain had begun then.
    seen: Option<(Moment, bool)>,
    deadline: Option<Instant>,
}

impl Vigil {
    pub(super) fn new(limits: &ServerLimits, place: Place) -> Self {
        Self {
            header: limits.header_timeout,
            idle: limits.keep_alive_timeout,
            write: limits.write_timeout,
            sleep: Box::pin(sleep_until(Instant::now() + limits.header_timeout)),
            place,
            seen: None,
            deadline: None,
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn draining(&self) -> bool {
        self.place.connections().draining()
    }

    /// Ready when the connection has waited too long, with what it waited for. To be
    /// polled after the connection itself, in the same task.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<Wait> {
        if self.seen.is_none() {
            self.place.wake_on_drain(cx.waker());
        }
        // Read after the waker is in place: a drain is then seen here or wakes us.
        let now = (activity.moment(), self.draining());
        if self.seen != Some(now) {
            self.aim(now);
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        loop {
            if deadline < self.sleep.deadline() {
                self.sleep.as_mut().reset(deadline);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(now.0.wait);
            }
            // The timer was left at an earlier wait's time: moving it only now saves
            // a turn of the timer wheel for each request.
            self.sleep.as_mut().reset(deadline);
        }
    }

    fn aim(&mut self, (moment, draining): (Moment, bool)) {
        let before = self.seen.replace((moment, draining)).map(|(moment, _)| moment.wait);
        let within = match moment.wait {
            Wait::Exchange => None,
            Wait::Taking if draining => Some(self.write.min(limits::DRAIN_WRITE_TIMEOUT)),
            Wait::Taking => Some(self.write),
            Wait::Head => Some(self.header),
            // A client that has been connected may have sent what has not arrived
            // yet; only after a moment does its silence mean that it owes nothing.
            Wait::First | Wait::Idle if draining => Some(limits::DRAIN_GRACE),
            Wait::First => Some(self.header),
            Wait::Idle => Some(self.idle),
        };
        // The first head's time runs from the accept, whenever its first byte comes.
        if before == Some(Wait::First) && moment.wait == Wait::Head && self.deadline.is_some() && !draining {
            return;
        }
        self.deadline = within.map(|within| Instant::now() + within);
    }
}
