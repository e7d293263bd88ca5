//! Reading a request's body whole, within a bound and a deadline.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than allowed. Of a body that declares its length, none was read.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound that was given.
        bytes_max: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {} ms", .within.as_millis())]
    Timeout {
        /// The time that was given.
        within: Duration,
    },
    /// The client broke it off, or its framing is wrong.
    #[error("the body is broken: {0}")]
    Broken(#[from] hyper::Error),
}

/// Reads the whole body: at most `bytes_max` bytes, within `within` from now.
///
/// A body that declares too large a length is refused before a byte of it is read,
/// and so before `100 Continue` invites it. One that comes in one piece is not
/// copied, and an empty one costs nothing.
pub async fn read_body(body: Incoming, bytes_max: usize, within: Duration) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = body.size_hint();
    if declared.lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge { bytes_max });
    }
    match timeout_at(Instant::now() + within, collect(body, bytes_max)).await {
        Ok(read) => read,
        Err(_elapsed) => Err(BodyError::Timeout { within }),
    }
}

async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    let Some(first) = next_piece(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next_piece(&mut body).await? else { return Ok(first) };

    // A declared length is within the bound here, so it may be trusted for the
    // allocation.
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut whole = BytesMut::with_capacity(first.len() + second.len() + declared);
    whole.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if whole.len() + bytes.len() > bytes_max {
            return Err(BodyError::TooLarge { bytes_max });
        }
        whole.extend_from_slice(&bytes);
        piece = next_piece(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// The next piece with bytes in it; trailers are read and left out.
async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data()
            && !bytes.is_empty()
        {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
