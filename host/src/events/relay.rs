//! Rows of the outbox, moved to the stream.
//!
//! A row leaves the outbox when Redis has said that the stream has it. What happens to a host
//! in between does not matter: Redis keeps what the rows of the last batch are known by beside the
//! stream, written in one step with it, and whoever moves rows next begins by deleting these. A
//! host that has lost its place without knowing it (it was stopped, and goes on) is turned away
//! by Redis, because whoever took its place has a higher fence; and by Postgres, because its
//! session is gone.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::{sleep, timeout};

use super::event::Cursor;
use super::outbox::{self, Outbox, Row, Term};
use super::stats::EventStats;
use super::stream::Stream;
use super::traced::Traced;
use crate::capability::postgres::OwnerSession;
use crate::capability::redis::Error;
use crate::limits::{
    OUTBOX_BATCH, OUTBOX_COUNT_PERIOD, OUTBOX_LOOK_PERIOD, OUTBOX_RETRY_PAUSE, OUTBOX_TAKEOVER_PERIOD,
};
use crate::telemetry::trace::Span;

/// Moves the rows of one topic.
pub(super) struct Relay {
    pub(super) topic: String,
    pub(super) keep: u64,
    pub(super) session: OwnerSession,
    pub(super) stream: Arc<Stream>,
    pub(super) stats: Arc<EventStats>,
    pub(super) traced: Option<Traced>,
}

/// Why a term has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("another host fills the stream")]
    Replaced,
    #[error("{0:#}")]
    Postgres(#[from] anyhow::Error),
    #[error("Redis: {0:?}")]
    Redis(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Redis(error)
    }
}

impl Relay {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let mut failing = false;
        loop {
            self.redis_is_up().await;
            let held = Outbox::hold(&self.session, &self.topic).await;
            let ended = match held {
                Ok(None) => {
                    // What waits is the other host's to say.
                    self.stats.waiting.store(0, Relaxed);
                    sleep(OUTBOX_TAKEOVER_PERIOD).await;
                    continue;
                }
                Ok(Some(term)) => {
                    tracing::info!(topic = %self.topic, fence = term.fence, "events: this host fills the stream");
                    self.stats.filling.store(1, Relaxed);
                    let ended = self.serve(term, &mut failing).await;
                    self.stats.filling.store(0, Relaxed);
                    ended
                }
                Err(error) => error.into(),
            };
            if !failing {
                tracing::warn!(topic = %self.topic, "events: rows wait in the outbox: {ended}");
            }
            failing = true;
            sleep(OUTBOX_RETRY_PAUSE).await;
        }
    }

    /// Moves rows for as long as both sides take part. What it held is given up with it, so
    /// that a host whose Redis is out of reach does not keep the others from it.
    async fn serve(&self, term: Term, failing: &mut bool) -> Ended {
        let Term { outbox, mut fence, mut position } = term;
        let begun = async {
            let mut left = self.stream.claim(fence).await?;
            if left.fence != fence {
                fence = outbox.fence_above(left.fence).await?;
                left = self.stream.claim(fence).await?;
            }
            if left.fence != fence {
                return Err(Ended::Replaced);
            }
            // What Redis has forgotten is not forgotten here.
            position = position.max(left.last);
            outbox.told(&left.batch, position).await?;
            Ok(())
        };
        if let Err(ended) = begun.await {
            return ended;
        }
        loop {
            match self.step(&outbox, fence, &mut position).await {
                Ok(moved) => {
                    if std::mem::take(failing) {
                        tracing::info!(topic = %self.topic, "events: the outbox empties again");
                    }
                    if moved < OUTBOX_BATCH as usize {
                        sleep(OUTBOX_LOOK_PERIOD).await;
                    }
                }
                Err(ended) => return ended,
            }
        }
    }

    async fn step(&self, outbox: &Outbox, fence: i64, position: &mut Cursor) -> Result<usize, Ended> {
        let mut rows = outbox.look().await?;
        let full = rows.len() == OUTBOX_BATCH as usize;
        self.stats.waiting.store(if full { outbox.waiting().await? } else { rows.len() as u64 }, Relaxed);
        let Some(oldest) = rows.first() else { return Ok(0) };
        self.stats.lag(oldest.age_s);

        // Dropped where the stream does not take them: cut off, and the rows are sent again.
        let sending = self.traced.as_ref().map(|traced| traced.send(&mut rows)).unwrap_or_default();
        let last = self.stream.append(fence, self.keep, *position, &rows).await?.ok_or(Ended::Replaced)?;
        sending.into_iter().for_each(Span::end);
        let numbers: Vec<i64> = rows.iter().map(|row: &Row| row.number).collect();
        outbox.moved(&numbers, last).await?;
        *position = last;
        self.stats.moved.fetch_add(rows.len() as u64, Relaxed);
        if !full {
            self.stats.waiting.store(0, Relaxed);
        }
        Ok(rows.len())
    }

    /// Waits for Redis, and counts meanwhile what waits for it.
    async fn redis_is_up(&self) {
        let mut up = self.stream.redis().watch();
        while !*up.borrow_and_update() {
            if let Ok(waiting) = outbox::waiting(&self.session, &self.topic).await {
                self.stats.waiting.store(waiting, Relaxed);
            }
            let _ = timeout(OUTBOX_COUNT_PERIOD, up.changed()).await;
        }
    }
}
