//! One subscriber's way through a stream: old events from Redis, then those of the hub, and
//! at last the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::event::Cursor;
use super::hub::{Attached, Hub};
use super::line::{Cut, Line};
use super::places::Place;
use super::stats::{EventStats, Open};
use super::step::{End, Gap, Step};
use super::stream::Stream;
use crate::capability::redis::Error;
use crate::limits::{EVENTS_READ_BATCH, EVENTS_RETRY_PAUSE, WRITE_TIMEOUT};

/// What all subscriptions of a topic share.
pub(super) struct Source {
    pub(super) hub: Arc<Hub>,
    pub(super) stream: Arc<Stream>,
    pub(super) stats: Arc<EventStats>,
    /// Turns to read old events.
    pub(super) replays: Semaphore,
}

/// One subscriber.
pub struct Subscription {
    source: Arc<Source>,
    line: Arc<Line>,
    /// How far it has come in the stream, whether or not what was there was for it. `None`:
    /// wherever the hub is when it is attached.
    read: Option<Cursor>,
    /// How far its client has come.
    told: Option<Cursor>,
    attached: bool,
    pending: VecDeque<Step>,
    expires: Option<Instant>,
    _open: Open,
    _place: Place,
}

impl Subscription {
    pub(super) fn new(
        source: Arc<Source>,
        line: Line,
        after: Option<Cursor>,
        expires: Option<Instant>,
        (open, place): (Open, Place),
    ) -> Self {
        Self {
            source,
            line: Arc::new(line),
            read: after,
            told: after,
            attached: false,
            pending: VecDeque::new(),
            expires,
            _open: open,
            _place: place,
        }
    }

    /// How far its client has come: where it can go on with another subscription.
    pub fn cursor(&self) -> Option<Cursor> {
        self.told
    }

    /// Waits for what comes next. Dropped before that, it has missed nothing.
    pub async fn next(&mut self) -> Step {
        loop {
            if let Some(step) = self.at_hand() {
                return step;
            }
            let (closing, expires) = (self.source.hub.closing().clone(), self.expires);
            tokio::select! {
                biased;
                () = closing.cancelled() => {}
                () = until(expires) => {}
                () = self.advance() => {}
            }
        }
    }

    /// What comes next, if it is there already.
    pub fn at_hand(&mut self) -> Option<Step> {
        let end = match self.expires {
            _ if self.source.hub.closing().is_cancelled() => Some(End::GoingAway),
            Some(expires) if expires <= Instant::now() => Some(End::Expired),
            _ => None,
        };
        if let Some(end) = end {
            return Some(Step::End(end));
        }
        match self.pending.pop_front() {
            Some(step) => Some(step),
            None if !self.attached => None,
            None => match self.line.pop() {
                Ok(item) => item.map(Step::from),
                Err(Cut) => Some(Step::End(End::Slow)),
            },
        }
    }

    /// The client has been sent this, after all that came before it.
    pub(super) fn told(&mut self, step: &Step) {
        match step {
            Step::Ready(at) => self.told = Some(*at),
            Step::Event(event) => {
                self.told = Some(event.id);
                self.source.stats.delivered.fetch_add(1, Relaxed);
            }
            Step::Gap(gap) => {
                self.told = Some(gap.resume_from);
                self.source.stats.gaps.fetch_add(1, Relaxed);
            }
            Step::End(_) => {}
        }
    }

    /// While the client is being written to: waits for a reason to end that does not wait
    /// until it has taken what it was sent.
    pub(super) async fn overtaken(&self) -> End {
        tokio::select! {
            () = self.source.hub.closing().cancelled() => End::GoingAway,
            () = until(self.expires) => End::Expired,
            () = self.line.is_cut() => End::Slow,
            () = sleep(WRITE_TIMEOUT) => End::Silent,
        }
    }

    /// The host ends it.
    pub(super) fn ended(&self, end: End) {
        self.source.stats.count_end(end);
    }

    /// Brings the next events near, or waits for them.
    async fn advance(&mut self) {
        if self.attached {
            return self.line.filled().await;
        }
        let hub = &self.source.hub;
        let mut position = hub.position();
        if let Attached::Live(end) = hub.attach(&self.line, self.read) {
            self.attached = true;
            let at = *self.read.get_or_insert(end);
            self.pending.push_back(Step::Ready(at));
            return;
        }
        let moved = match self.read {
            None => false,
            Some(read) => match self.replay(read).await {
                Ok(moved) => moved,
                Err(_) => return sleep(EVENTS_RETRY_PAUSE).await,
            },
        };
        if !moved {
            // The hub has yet to read what is there, or Redis to be found.
            let _ = timeout(EVENTS_RETRY_PAUSE, position.changed()).await;
        }
    }

    /// Reads some old events. False when there are none after `read`.
    async fn replay(&mut self, read: Cursor) -> Result<bool, Error> {
        let source = self.source.clone();
        // Never closed, so there is always a turn.
        let _turn = source.replays.acquire().await;
        let mut page = source.stream.after(read, EVENTS_READ_BATCH).await?;
        if page.is_empty() {
            let last = source.stream.last().await?;
            if last == read {
                return Ok(false);
            }
            page = source.stream.after(read, EVENTS_READ_BATCH).await?;
            if page.is_empty() {
                // A place of another stream than the one that is there now.
                let here = source.hub.position().borrow().unwrap_or_default().max(last);
                self.skip(read, here);
                return Ok(true);
            }
        }
        let mut at = read;
        for event in page {
            if event.before != at {
                self.skip(at, event.before);
            }
            at = event.id;
            if self.line.filter.passes(&event) {
                self.pending.push_back(Step::Event(Arc::new(event)));
            }
        }
        self.read = Some(at);
        Ok(true)
    }

    fn skip(&mut self, after: Cursor, resume_from: Cursor) {
        self.pending.push_back(Step::Gap(Gap { after, resume_from }));
        self.read = Some(resume_from);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.attached {
            self.source.hub.detach(&self.line);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
