//! What the operator's API says and hears, as JSON: the host writes these types, the
//! command line reads them.
//!
//! A reader must ignore fields that it does not know, so that a command line and a
//! host of different ages understand each other.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::policy::auth::KeyState;

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// The host itself.
    pub host: HostInfo,
    /// The services in name order.
    pub services: Vec<ServiceStatus>,
}

/// The running host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Wasmyard's own version.
    pub version: String,
    /// When it began to start.
    pub started_at: Timestamp,
    /// Its process id.
    pub pid: u32,
}

/// One service at this moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name in the manifest.
    pub name: String,
    /// The label of the active version: the first 12 hex digits of its digest.
    /// Absent when no version is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it can serve.
    pub state: ServiceState,
    /// When the active version became active; absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// `instance` or `request`, as in the manifest.
    pub isolation: String,
    /// Public routes, as `GET,POST /api/v1/users`.
    pub routes: Vec<String>,
    /// The loopback port that answers for this service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_port: Option<u16>,
    /// The active version's instances.
    pub instances: Instances,
    /// Requests being worked on.
    pub in_flight: u64,
    /// Requests answered since the host started.
    pub requests: u64,
}

/// Whether a service can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// A version is active.
    Serving,
    /// The active version's last deploy is still in progress.
    Deploying,
    /// No version is active.
    Down,
}

/// Instances of one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// Waiting for a request.
    pub warm: u64,
    /// Working on one.
    pub busy: u64,
    /// Dropped since the host started, for whatever reason.
    #[serde(default)]
    pub retired: u64,
}

/// `GET /v1/services/{name}/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The service's name.
    pub service: String,
    /// What was deployed, newest first.
    pub versions: Vec<HistoryEntry>,
}

/// One deploy, rollback or start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The first 12 hex digits of the digest.
    pub version: String,
    /// The component's SHA-256 digest, 64 hex digits.
    pub digest: String,
    /// When it became active, or was refused.
    pub at: Timestamp,
    /// By which way it came.
    pub way: Way,
    /// How long moving the pointer took, with all steps before it; absent for a
    /// version that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_ms: Option<f64>,
    /// What became of it.
    pub state: VersionState,
    /// Why it was refused, or another remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// By which way a version came to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The host started with it.
    Start,
    /// `wasmyard deploy`.
    Deploy,
    /// The component's file changed.
    Watch,
    /// `wasmyard rollback`.
    Rollback,
    /// The manifest changed.
    Manifest,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Start => "start",
            Self::Deploy => "deploy",
            Self::Watch => "watch",
            Self::Rollback => "rollback",
            Self::Manifest => "manifest",
        })
    }
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// New requests go to it.
    Active,
    /// Another one took its place, and it has no request left.
    Retired,
    /// Another one took its place; its last requests are being answered.
    Draining,
    /// It never became active.
    Refused,
}

impl fmt::Display for VersionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Draining => "draining",
            Self::Refused => "refused",
        })
    }
}

/// The answer to a deploy or a rollback that went well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployReport {
    /// The service's name.
    pub service: String,
    /// The label of the version that is active now.
    pub version: String,
    /// Its component's SHA-256 digest, 64 hex digits.
    pub digest: String,
    /// The label of the version before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// The whole of it, from the request to the moved pointer.
    pub swap_ms: f64,
}

/// One step of a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name, e.g. `compile`.
    pub step: String,
    /// How long it took.
    pub ms: f64,
}

/// Why a deploy or a rollback left everything as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct DeployFailure {
    /// The step that failed, e.g. `grants`.
    pub step: String,
    /// Why, in a sentence for the operator.
    pub reason: String,
    /// What kind of failure it is.
    pub kind: FailureKind,
}

/// The manifest has no service of the name asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownService {
    /// The service whose name is most like it.
    pub nearest: Option<String>,
}

/// What kind of failure a [`DeployFailure`] is; decides the answer's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// The component is at fault: 422.
    Refused,
    /// Another deploy of this service is running: 409.
    Busy,
    /// There is no earlier version to go back to: 409.
    NothingToRollBack,
    /// No service of that name: 404, with the nearest one.
    UnknownService {
        /// The service whose name is most like it.
        nearest: Option<String>,
    },
    /// The host is at fault, e.g. its disk is full: 500.
    Host,
}

/// `GET /v1/keys`, and the answer to a rotation: the keys that sign access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The newest first.
    pub keys: Vec<KeyEntry>,
}

/// One signing key; of it, only what is public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// Its name, which stands in the tokens.
    pub kid: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// What it is good for.
    pub state: KeyState,
}

/// Why there are no keys to tell of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysFailure {
    /// Nothing in the manifest asks for callers, so the host has none.
    #[error("no route and no grant of the manifest asks for callers, so there are no keys")]
    Unused,
    /// The host is at fault, e.g. its database is away.
    #[error("{0}")]
    Host(String),
}

/// `GET /v1/sagas`: what services could neither finish nor undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Service by service, the oldest first.
    pub parked: Vec<ParkedSaga>,
}

/// One of them. It is in nobody's way, and nobody touches it until it is retried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedSaga {
    /// The service that it belongs to.
    pub service: String,
    /// Its name within the service.
    pub id: String,
    /// What it was about to do.
    pub step: String,
    /// How often that was tried.
    pub attempts: u32,
    /// When it began.
    pub since: Timestamp,
    /// Why it failed the last time.
    pub reason: String,
}

/// The answer to a retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// The service.
    pub service: String,
    /// The saga that it tries again.
    pub id: String,
}

/// Why there is nothing to tell of sagas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SagaFailure {
    /// No service of that name.
    #[error("there is no such service")]
    UnknownService(UnknownService),
    /// Nothing is parked under this id.
    #[error("nothing is parked under this name; `wasmyard saga list` tells what is")]
    NotParked,
    /// The service could not tell, e.g. because its database is away.
    #[error("{0}")]
    Service(String),
}

/// An answer of status 400 or above, as `application/problem+json` (RFC 9457). The
/// reader's side: what a command line wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProblemReport {
    /// What kind of problem, as a URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened in this case.
    #[serde(default)]
    pub detail: Option<String>,
    /// The failed step of a deploy.
    #[serde(default)]
    pub step: Option<String>,
    /// Why that step failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// The service whose name is most like the one asked for.
    #[serde(default)]
    pub nearest: Option<String>,
}
