//! The shop's endpoints, over real HTTPS: what each one answers, right or wrong.
//!
//! One program for all of it: its tests share one Postgres server.

mod auth;
mod cache;
mod health;
mod hostile_input;
mod limits;
mod orders;
mod pages;
mod products;
mod prometheus;
mod protocol;
mod rate_limit;
mod search;
mod stored;
mod tracing;
mod users;
mod workflow;
