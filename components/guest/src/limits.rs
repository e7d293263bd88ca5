//! What a service may know of its own limits.

use std::sync::LazyLock;
use std::time::Duration;

use crate::bindings::wasmyard::platform::config;

/// The name under which the host tells it (`config`, see `services.wit`).
const REQUEST_TIMEOUT_MS: &str = "limits.request_timeout_ms";
/// The host's own default, for a host that does not tell.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request of this service may take. The service needs the grant `config`.
pub fn request_timeout() -> Duration {
    // An instance belongs to a version, and a changed limit makes another version.
    static TOLD: LazyLock<Duration> = LazyLock::new(|| {
        let told = config::get(REQUEST_TIMEOUT_MS).and_then(|told| told.parse().ok());
        told.map_or(REQUEST_TIMEOUT, Duration::from_millis)
    });
    *TOLD
}
