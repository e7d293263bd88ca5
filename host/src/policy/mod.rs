//! What the host does to every request and every answer, whichever service it is
//! for. One file or folder for each policy, each a function of the message alone (and,
//! for [`auth`], of the keys at hand), so that it is tested without a server.

pub mod auth;
mod client_address;
mod conditional;
mod fields;
mod route_cache;

pub use client_address::client_address;
pub use conditional::{conditional, entity_tag};
pub use fields::{REQUEST_ID, VERSION, strip_request, strip_response};
pub use route_cache::{Given, KeyTemplate, RouteCache, asks_for_stored, hit_status, is_for_everybody};
