//! Why a guest gave no answer.

use crate::manifest::ServiceLimits;

/// Why a guest gave no answer. Its text is for the log; what a client sees is the
/// problem made from the variant.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// As many requests at once as the service may have.
    #[error("saturated: {limit} requests at once")]
    Saturated {
        /// `limits.concurrency_max`.
        limit: usize,
    },
    /// Calls between services nested deeper than allowed.
    #[error("calls nested deeper than {limit}")]
    TooDeep {
        /// `limits.call_depth_max`.
        limit: u8,
    },
    /// The request's deadline passed; the instance was dropped.
    #[error("no answer within {limit_ms} ms")]
    Timeout {
        /// `limits.request_timeout_ms`.
        limit_ms: u64,
    },
    /// The guest trapped; the instance was dropped.
    #[error("trap: {0}")]
    Trap(String),
    /// The guest returned something that is not a response: a status out of range,
    /// an illegal header, a body over its limit.
    #[error("invalid response: {0}")]
    InvalidResponse(String),
    /// The version's drain deadline passed while the request was in it.
    #[error("the version was retired before it answered")]
    Retired,
    /// No instance could be made: the host's own bounds.
    #[error("no instance: {0}")]
    NoInstance(String),
}

impl Failure {
    /// The variant in a word, as metrics and traces have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Saturated { .. } => "saturated",
            Self::TooDeep { .. } => "too_deep",
            Self::Timeout { .. } => "timeout",
            Self::Trap(_) => "trap",
            Self::InvalidResponse(_) => "invalid_response",
            Self::Retired => "retired",
            Self::NoInstance(_) => "no_instance",
        }
    }

    /// The deadline of a service with these limits has passed.
    pub(super) fn timeout(limits: &ServiceLimits) -> Self {
        Self::Timeout { limit_ms: u64::try_from(limits.request_timeout.as_millis()).unwrap_or(u64::MAX) }
    }
}
