//! What the shop tells of its orders while they change: from the transaction that changes
//! one to those who listen.
//!
//! One program for all of it: its tests share one Postgres server.

mod outbox;
