//! `wasmyard:platform/services`: a call to another service, in process.

use async_trait::async_trait;
use wasmtime::Result;

pub use crate::bindings::wasmyard::platform::services::{CallRequest, Error};

use crate::bindings::wasmyard::platform::{http_types, services};
use crate::runtime::{Context, RequestScope};

/// Answers a call on behalf of a service; the manifest's grant has been checked by
/// the implementation, which knows the caller.
#[async_trait]
pub trait Caller: Send + Sync {
    /// Calls `service`. `scope` is the calling request: its id, identity and
    /// deadline are carried along, its depth grows by one.
    async fn call(
        &self,
        service: &str,
        request: CallRequest,
        scope: &RequestScope,
    ) -> Result<http_types::Response, Error>;
}

impl services::Host for Context {
    async fn call(
        &mut self,
        service: String,
        request: CallRequest,
    ) -> Result<Result<http_types::Response, Error>> {
        let Some(caller) = self.capabilities.services.clone() else {
            return Ok(Err(Error::NotGranted(service)));
        };
        // What the cache had before may be what the other service changes.
        self.request.read = None;
        Ok(caller.call(&service, request, &self.request).await)
    }
}
