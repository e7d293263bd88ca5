//! A request's body while it is still on its way.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::limits;
use crate::server::{BodyError, read_body};

/// A body that can be read once: a connection's, or a test's bytes.
pub(crate) trait Unread: Send {
    /// The most bytes that it can still have, as far as the request's head tells.
    fn bytes_max(&self) -> Option<u64>;

    /// Reads it whole: at most `bytes_max` bytes, within `within` from now.
    fn read(
        self,
        bytes_max: usize,
        within: Duration,
    ) -> impl Future<Output = Result<Bytes, BodyError>> + Send;
}

impl Unread for Incoming {
    fn bytes_max(&self) -> Option<u64> {
        if self.is_end_stream() { Some(0) } else { self.size_hint().upper() }
    }

    async fn read(self, bytes_max: usize, within: Duration) -> Result<Bytes, BodyError> {
        read_body(self, bytes_max, within).await
    }
}

/// Bounds the request bodies in memory, all of them together: each one is bounded
/// already, but ten thousand connections may send one at a time.
pub(crate) struct BodyRoom(Arc<Semaphore>);

impl BodyRoom {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / limits::KIB)))
    }

    /// Room for `body` until the permit is dropped, or an error at once. A body that
    /// does not declare its length takes the room of the largest one allowed.
    pub(crate) fn take(
        &self,
        body: &impl Unread,
        bytes_max: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, TryAcquireError> {
        let expected = body.bytes_max().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        let kib = expected.min(bytes_max).div_ceil(limits::KIB);
        if kib == 0 {
            return Ok(None);
        }
        self.0.clone().try_acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that only declares.
    struct Declared(Option<u64>);

    impl Unread for Declared {
        fn bytes_max(&self) -> Option<u64> {
            self.0
        }

        async fn read(self, _: usize, _: Duration) -> Result<Bytes, BodyError> {
            Ok(Bytes::new())
        }
    }

    #[test]
    fn bodies_take_the_room_they_may_need_and_give_it_back() {
        let room = BodyRoom::new(4 * limits::MIB);
        let all = 4 * limits::MIB;
        assert!(room.take(&Declared(Some(0)), all).unwrap().is_none());

        let largest = room.take(&Declared(None), all).unwrap();
        assert!(room.take(&Declared(Some(1)), all).is_err());
        assert!(room.take(&Declared(Some(0)), all).is_ok());

        drop(largest);
        assert!(room.take(&Declared(Some(u64::MAX)), limits::MIB).unwrap().is_some());
    }
}
