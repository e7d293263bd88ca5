//! The shop as one native hyper program: what Wasmyard is measured against.
//!
//! The same routes, SQL, cache keys, times to live, rules and JSON as the three
//! components have, over the same crates and pools as the host. What differs is what
//! is to be measured: there is no guest and no contract in between, one process does
//! the work of all three services, and an order's user and product are read by calling
//! a function. It asks Redis for each cached answer, as services usually do.
//!
//! The forms, their rules and the JSON types are the components' own, compiled for the
//! machine; everything that touches a socket is written for this program.
//!
//! - `server.rs`: listeners, connections, TLS
//! - `route.rs`: from a request to the function that answers it
//! - `answer.rs`: from what that says to what goes on the wire
//! - `users.rs`, `products.rs`, `orders.rs`: the shop
//! - `shop.rs`: what they share
//! - `cache.rs`, `flight.rs`, `link.rs`: cache-aside over Redis
//! - `database.rs`, `row.rs`: Postgres

mod answer;
mod cache;
mod database;
mod flight;
mod limits;
mod link;
mod orders;
mod products;
mod route;
mod row;
mod server;
mod shop;
mod tls;
mod users;

pub use server::{Native, Options};
