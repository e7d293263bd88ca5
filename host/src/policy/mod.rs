//! What the host does to every request and every answer, whichever service it is
//! for. One file for each policy, each a function of the message alone, so that it is
//! tested without a server.

mod conditional;
mod fields;

pub use conditional::conditional;
pub use fields::{REQUEST_ID, VERSION, strip_request, strip_response};
