//! What products is asked for. Each may be asked for again, and happens once.

use serde::Serialize;
use wasmyard_guest::{Peer, PeerError, Problem, Reply};

use crate::order::Line;

/// Has products take the stock of all lines. `Refused` says why it does not.
pub(super) fn reserve(order: i32, lines: &[Line]) -> Result<Reply, PeerError> {
    Peer("products").put(&reservation(order), &Items { items: lines })
}

/// Has products confirm what the order holds. One that was cancelled meanwhile holds nothing
/// more, which is just as well.
pub(super) fn confirm(order: i32) -> Result<(), PeerError> {
    match Peer("products").put(&format!("{}/confirmation", reservation(order)), &Confirmation {})? {
        Reply::Found(_) | Reply::Refused(_) => Ok(()),
        Reply::Absent => Err(failed(format!("products has no reservation of order {order}"))),
    }
}

/// Has products take the stock back, and refuse it to this order from now on.
pub(super) fn release(order: i32) -> Result<(), PeerError> {
    match Peer("products").delete(&reservation(order))? {
        Reply::Found(_) => Ok(()),
        Reply::Refused(_) | Reply::Absent => Err(failed("products has no way to take stock back".to_owned())),
    }
}

/// It was there, and does not know what it was asked for.
fn failed(cause: String) -> PeerError {
    PeerError::Failed(Problem::internal(cause))
}

fn reservation(order: i32) -> String {
    format!("/internal/reservations/{order}")
}

/// What products is asked to reserve.
#[derive(Serialize)]
struct Items<'a> {
    items: &'a [Line],
}

/// That an order is made says all there is to say.
#[derive(Serialize)]
struct Confirmation {}
