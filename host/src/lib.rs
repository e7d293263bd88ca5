//! Wasmyard: a host that runs each microservice as a sandboxed WebAssembly
//! component.

pub mod admin;
pub mod background;
#[expect(missing_docs, reason = "generated; documented in wit/")]
pub mod bindings;
pub mod capability;
pub mod cli;
pub mod events;
pub mod gateway;
pub mod host;
pub mod limiter;
pub mod limits;
pub mod local;
pub mod manifest;
pub mod pages;
pub mod platform;
pub mod policy;
pub mod problem;
pub mod router;
pub mod run_file;
pub mod runtime;
pub mod secret;
pub mod server;
pub mod telemetry;
pub mod testing;
pub mod watch;
