//! The host functions: keys and sizes are checked, hits and misses counted.

use std::time::Duration;

use wasmtime::Result;
use wasmtime::component::Resource;

use super::{Error, Fill, GrantedCache, Lookup, Stored};
use crate::bindings::wasmyard::platform::cache;
use crate::capability::grants::KeyFault;
use crate::limits::REDIS_KEYS_MAX;
use crate::runtime::Context;
use crate::telemetry::trace::{SpanKind, around};

/// A guest's fill; empty once the request that was given it has ended.
pub struct FillHandle(Option<Box<dyn Fill>>);

impl FillHandle {
    /// Takes the fill out; dropping it hands it to the next reader.
    pub(in crate::capability) fn take(&mut self) -> Option<Box<dyn Fill>> {
        self.0.take()
    }
}

impl cache::Host for Context {
    async fn lookup(&mut self, key: String) -> Result<Result<cache::LookupResult, Error>> {
        let cache = self.cache()?;
        if let Err(error) = cache.check(std::slice::from_ref(&key)) {
            return Ok(Err(error));
        }
        let read = self.request.read.take().filter(|(read, _)| *read == key).map(|(_, found)| found);
        let span = self.request.trace.child(SpanKind::Internal, "cache lookup");
        let lookup = cache.backend.lookup(&key, self.request.deadline, read);
        let found = around(&span.under(&self.request.trace), lookup).await;
        span.end_with(|span| {
            let result = match &found {
                Ok(Lookup::Hit(hit)) if hit.collapsed => "collapsed",
                Ok(Lookup::Hit(_)) => "hit",
                Ok(Lookup::Fill(_)) => "miss",
                Ok(Lookup::Bypass) => "bypass",
                Err(_) => "timeout",
            };
            span.set("wasmyard.cache.result", result);
        });
        let found = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        cache.counters.count(&found);
        Ok(Ok(match found {
            Lookup::Hit(hit) => cache::LookupResult::Hit(hit),
            Lookup::Fill(fill) => cache::LookupResult::Fill(self.table.push(FillHandle(Some(fill)))?),
            Lookup::Bypass => cache::LookupResult::Bypass,
        }))
    }

    async fn invalidate(&mut self, keys: Vec<String>) -> Result<Result<(), Error>> {
        self.request.read = None;
        let cache = self.cache()?;
        Ok(match cache.check(&keys) {
            Ok(()) => {
                let span = self.request.trace.child(SpanKind::Internal, "cache invalidation");
                let invalidated = cache.backend.invalidate(&keys);
                let invalidated = around(&span.under(&self.request.trace), invalidated).await;
                span.end();
                invalidated
            }
            Err(error) => Err(error),
        })
    }
}

impl cache::HostFill for Context {
    async fn store(&mut self, handle: Resource<FillHandle>, value: Vec<u8>, ttl_ms: u64) -> Result<Stored> {
        Ok(match &mut self.table.get_mut(&handle)?.0 {
            Some(fill) => fill.store(value, Duration::from_millis(ttl_ms)).await,
            None => Stored::Superseded,
        })
    }

    async fn drop(&mut self, handle: Resource<FillHandle>) -> Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl Context {
    fn cache(&self) -> Result<GrantedCache> {
        let granted = self.capabilities.cache.clone();
        granted.ok_or_else(|| wasmtime::format_err!("cache is not granted"))
    }
}

impl GrantedCache {
    fn check(&self, keys: &[String]) -> Result<(), Error> {
        Ok(self.keys.check(keys)?)
    }
}

impl From<KeyFault> for Error {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::TooMany(keys) => Self::TooLarge(format!("{keys} keys; at most {REDIS_KEYS_MAX}")),
            KeyFault::TooLong => Self::TooLarge("key".to_owned()),
            KeyFault::NotGranted(key) => Self::NotGranted(key),
        }
    }
}
