//! The capabilities that are nothing but a script.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::bindings::wasmyard::platform::http_types::Response;
use crate::capability::log::{Line, Listener};
use crate::capability::services::{CallRequest, Caller, Error};
use crate::capability::stats::{Reader, Snapshot};
use crate::runtime::RequestScope;

/// A peer's answer without header fields.
///
/// # Errors
/// Never: an answer of any status is one. It is a `Result` so that it can stand where
/// a peer may also fail.
pub fn reply(status: u16, body: &str) -> Result<Response, Error> {
    Ok(Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
}

pub(super) type Peer = Box<dyn Fn(&CallRequest) -> Result<Response, Error> + Send + Sync>;

/// Other services, played by the test.
#[derive(Default)]
pub(super) struct ScriptedServices {
    pub(super) peers: BTreeMap<String, Peer>,
    pub(super) granted: Vec<String>,
    called: Mutex<Vec<(String, CallRequest)>>,
}

impl ScriptedServices {
    pub(super) fn called(&self) -> Vec<(String, CallRequest)> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Caller for ScriptedServices {
    async fn call(&self, service: &str, request: CallRequest, _: &RequestScope) -> Result<Response, Error> {
        if !self.granted.iter().any(|granted| granted == service) {
            return Err(Error::NotGranted(service.to_owned()));
        }
        let Some(answer) = self.peers.get(service) else {
            panic!("the component calls the service {service}, which the test does not play: {request:?}")
        };
        let answered = answer(&request);
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        called.push((service.to_owned(), request));
        answered
    }
}

/// Numbers that a test has written down.
pub(super) struct FixedStats(pub(super) Snapshot);

impl FixedStats {
    /// One request, the one that asks.
    pub(super) fn new(service: &str) -> Self {
        Self(Snapshot {
            service: service.to_owned(),
            version: String::new(),
            since_ms: 0,
            requests: 0,
            by_status: Vec::new(),
            in_flight: 1,
            cache_hits: 0,
            cache_misses: 0,
            latency_p50_us: 0,
            latency_p90_us: 0,
            latency_p99_us: 0,
            latency_p999_us: 0,
        })
    }
}

impl Reader for FixedStats {
    fn read(&self) -> Snapshot {
        self.0.clone()
    }

    fn count(&self, _event: &str, _by: u64) {}
}

/// What the component has logged.
#[derive(Default)]
pub(super) struct Journal(Mutex<Vec<Line>>);

impl Journal {
    pub(super) fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Listener for Journal {
    fn hear(&self, line: Line) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
