//! The right to fill a key, as a reader holds it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::aside::Inner;
use super::flight::Seat;
use super::{Fill, Stored};
use crate::limits::{REDIS_TTL_MAX, REDIS_VALUE_BYTES_MAX};

pub(super) struct AsideFill {
    inner: Arc<Inner>,
    /// `None` once it has been used.
    seat: Option<Seat>,
}

impl AsideFill {
    pub(super) fn new(inner: Arc<Inner>, seat: Seat) -> Self {
        Self { inner, seat: Some(seat) }
    }
}

#[async_trait]
impl Fill for AsideFill {
    async fn store(&mut self, value: Vec<u8>, ttl: Duration) -> Stored {
        let Some(mut seat) = self.seat.take() else { return Stored::Superseded };
        let storable = value.len() <= REDIS_VALUE_BYTES_MAX && !ttl.is_zero();
        let Some(token) = seat.token.clone().filter(|_| storable && !self.inner.pending.any()) else {
            // The readers that wait would fare no better: they read for themselves.
            seat.lost();
            return Stored::Unavailable;
        };
        let ttl = ttl.min(REDIS_TTL_MAX);
        seat.storing();
        match self.inner.store.fill(seat.key(), &token, &value, ttl).await {
            Ok(true) => {
                seat.stored(&value, u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
                Stored::Stored
            }
            Ok(false) => {
                seat.superseded();
                Stored::Superseded
            }
            Err(outage) => {
                tracing::debug!(key = seat.key(), %outage, "value not stored");
                seat.lost();
                Stored::Unavailable
            }
        }
    }
}
