//! Why a component does not become a version.

/// Why a component does not become a version.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The bytes are something else.
    #[error("not a component: {0}")]
    NotAComponent(String),
    /// It does not validate, or its imports have other types than the contract's.
    #[error("invalid component: {0}")]
    Invalid(String),
    /// It imports something that this host does not have.
    #[error("it imports `{0}`, which this host does not offer")]
    UnknownImport(String),
    /// It imports more than the manifest grants.
    #[error("{}", not_granted(service, missing))]
    NotGranted {
        /// The service's name.
        service: String,
        /// Each interface, with the line that would grant it.
        missing: Vec<(String, String)>,
    },
    /// It has no `http-handler`.
    #[error("it does not export `wasmyard:platform/http-handler@1.0.0`")]
    NoHandler,
    /// The manifest schedules work in the background, and it has none.
    #[error(
        "it does not export `wasmyard:platform/background@1.0.0`, which `background` under [services.{0}] schedules"
    )]
    NoBackground(String),
    /// It was asked for its health, and did not say that it can serve.
    #[error("{0}")]
    Unhealthy(String),
    /// The host is at fault.
    #[error("{0:#}")]
    Host(anyhow::Error),
}

fn not_granted(service: &str, missing: &[(String, String)]) -> String {
    let lines = missing.iter().map(|(interface, line)| {
        format!("it imports `{interface}`, which is not granted; to grant it, add `{line}`")
    });
    format!("{} under [services.{service}.grants]", lines.collect::<Vec<_>>().join("; "))
}
