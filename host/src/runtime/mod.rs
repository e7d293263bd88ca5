//! Guests: the engine, a service and its versions, instances, deadlines, deploys.

mod answer;
mod background;
pub mod component;
mod context;
pub mod deploy;
mod description;
mod engine;
mod entry;
mod failure;
mod history;
mod instance;
mod memory;
mod message;
mod priority;
mod refusal;
mod service;
mod version;

pub use background::Parked;
pub use context::{Context, RequestScope};
pub use description::{DESCRIPTION_PATH, Description};
pub(crate) use description::{KINDS as DESCRIPTION_KINDS, component_of};
pub use engine::Engine;
pub use failure::Failure;
pub use instance::InstanceCounts;
pub use message::{Identity, Request, RequestId, Response, VersionName};
pub(crate) use priority::lower_priority;
pub use refusal::Refusal;
pub use service::{Answer, Prepared, Service, Start};
pub use version::{Terms, Version};
