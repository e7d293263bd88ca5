//! What services tell the world of their changes, on its way to who listens.
//!
//! ```text
//! change and row ─ outbox ─ relay ─ stream ─ hub ─ line ─ subscription ─ SSE or WebSocket
//! (one transaction)  (Postgres)     (Redis)   (each host)  (each subscriber)
//! ```
//!
//! - **Nothing that was committed is lost, and nothing is told that was not.** The row is
//!   written by the service in the transaction of the change. The relay deletes it when
//!   the stream has it; while Redis is away, rows wait.
//! - **Nothing is told twice.** One host at a time fills a stream: it holds an advisory lock of
//!   Postgres, and a number (the fence) without which Redis takes nothing from it. Redis keeps
//!   what the rows are known by that it was given last, in the same step as the events; whoever
//!   fills the stream next deletes those first. So it does not matter where the one before
//!   it died.
//! - **The events of one key come in their order.** The writer of a row holds its key's lock,
//!   so the rows of a key are numbered in the order of their commits. Those of different keys
//!   may change places on the way into the stream; in the stream all have one order, which is
//!   the same for every subscriber.
//! - **What is missing is said.** Each event names the one before it. A subscriber, or a hub,
//!   that has read up to one event knows whether the next one that it gets is the next one,
//!   whatever was trimmed, flushed or lost with a Redis that fell over; if not, it is told of
//!   a gap.
//! - **A slow subscriber costs nobody else anything.** What waits for it is bounded; beyond
//!   that it is told where to go on, and closed.
//! - **Who sees what** is decided where a subscription is opened, by the verified caller, and
//!   applied to each event by its `subject`: nothing else decides.
//!
//! None of it is entered by a component, so none of it ends when one is swapped.
//!
//! | file | what |
//! | --- | --- |
//! | `outbox` | the rows in Postgres, and the lock |
//! | `stream`, `script` | the stream in Redis |
//! | `relay` | from the one to the other |
//! | `event` | one event, and its place |
//! | `hub`, `tail`, `reader` | the stream as this host reads it, once for all |
//! | `line` | what waits for one subscriber |
//! | `subscription`, `step` | old events, then new ones, then the end |
//! | `places` | how many subscribers there may be |
//! | `request`, `origin` | what a client asks for, and whether its page may |
//! | `message` | what a subscriber reads |
//! | `sse`, `handshake`, `websocket` | the two ways to read it |
//! | `traced` | the spans of rows and events |
//! | `topic` | all of it together, for one service |

mod event;
pub(crate) mod handshake;
mod hub;
mod line;
mod message;
mod origin;
mod outbox;
mod places;
mod reader;
pub(crate) mod refusal;
mod relay;
mod request;
mod script;
pub(crate) mod sse;
mod stats;
mod step;
mod stream;
mod subscription;
mod tail;
#[cfg(test)]
mod tests;
mod topic;
mod traced;
pub(crate) mod websocket;

pub use event::{BadCursor, Cursor, Event};
pub(crate) use request::{KEY_CHARS_MAX, Opening, fault};
pub use stats::EventStats;
pub use step::{End, Gap, Step};
pub use subscription::Subscription;
pub use topic::{Topic, Topics};
