//! What a guest may do, one file or folder for each WIT interface: the trait that
//! a backend implements, and the host functions that check and call it.
//!
//! A backend is the real one in the host and a scripted one in
//! [`crate::testing`]; the host functions are the same.

pub mod auth;
pub mod cache;
pub mod config;
pub mod grants;
pub mod leftovers;
pub mod log;
pub mod postgres;
pub mod redis;
pub mod services;
pub mod stats;
mod trace;
pub mod wasi;

use std::collections::BTreeMap;
use std::sync::Arc;

/// What one service has been granted, ready for use. Shared by all instances of a
/// version; a grant that is absent here was never linked either.
#[derive(Clone, Default)]
pub struct Capabilities {
    /// SQL on the service's role.
    pub postgres: Option<Arc<dyn postgres::Postgres>>,
    /// Redis, limited to the granted keys.
    pub redis: Option<redis::GrantedRedis>,
    /// Cache-aside, limited to the granted keys.
    pub cache: Option<cache::GrantedCache>,
    /// The services that may be called.
    pub services: Option<Arc<dyn services::Caller>>,
    /// Passwords and tokens.
    pub auth: Option<Arc<dyn auth::Auth>>,
    /// The service's numbers.
    pub stats: Option<Arc<dyn stats::Reader>>,
    /// The service's settings.
    pub settings: Arc<BTreeMap<String, String>>,
    /// Hears what a guest logs, beside the host's own log.
    pub log: Option<Arc<dyn log::Listener>>,
}
