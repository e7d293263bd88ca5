//! Routes declared as cached: what stands under the route's key is answered before a
//! guest is entered.
//!
//! The guest remains the only author of an answer. It is asked once for each value; when
//! its answer's body is that value to the byte, the answer's header is kept, beside the
//! value where that is in this host's memory, and else under the value's tag. Both
//! together are given to who asks next. A value that changes, another version of the
//! guest, and an answer that is not for everybody end that.

use std::sync::Arc;

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::capability::cache::{Found, Rendition};
use crate::limiter::Verdict;
use crate::policy::{self, Given, RouteCache};
use crate::router::{Endpoint, Near};
use crate::runtime::{RequestId, Response, VersionName};

/// The field that says what a cache had to do with an answer (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A request that may be answered by what stands under `key`.
pub(super) struct Stored<'a> {
    endpoint: &'a Endpoint,
    cache: &'a RouteCache,
    key: String,
}

/// What there is to answer with.
pub(super) enum Look {
    /// The answer, and the version that gave it.
    Answer(Response, VersionName),
    /// The guest must be asked. If the store was asked already, what it had.
    Guest(Option<(String, Found)>),
}

impl<'a> Stored<'a> {
    /// `None` when the guest must see the request in any case.
    pub(super) fn of(
        endpoint: &'a Endpoint,
        method: &Method,
        query: Option<&str>,
        headers: &HeaderMap,
        params: &[(Arc<str>, String)],
    ) -> Option<Self> {
        let cache = endpoint.cache.as_deref()?;
        let key = || cache.key.key(params);
        policy::asks_for_stored(method, query, headers).then(|| Self { endpoint, cache, key: key() })
    }

    /// Looks into this host's memory, and into the store if it is not there.
    pub(super) async fn look(&self) -> Look {
        match self.near() {
            Some(answer) => answer,
            None => self.far().await,
        }
    }

    /// Keeps a guest's answer, if it is what is stored.
    pub(super) fn keep(self, response: &Response, version: &VersionName) {
        if !policy::is_for_everybody(response) {
            return;
        }
        let Some(tag) = policy::entity_tag(&response.body) else { return };
        let headers = header(response, &tag, version);
        let (label, near) = (version.label.clone(), self.endpoint.handler.near(&self.key));
        match near {
            Some(near) if near.entry.value == response.body && Arc::ptr_eq(&near.version.label, &label) => {
                self.render(&near, headers);
            }
            // It may be far yet, or not be stored at all: the next reader compares.
            _ => self.cache.give(self.key, Given { tag, version: label, headers }),
        }
    }

    /// Hangs a header onto a value in this host's memory.
    fn render(&self, near: &Near, headers: HeaderMap) {
        let (version, route) = (near.version.label.clone(), self.endpoint.route.clone());
        near.entry.rendition.store(Some(Arc::new(Rendition { version, route, headers })));
    }

    /// The answer out of this host's memory. `None`: the value is not there.
    fn near(&self) -> Option<Look> {
        let near = self.endpoint.handler.near(&self.key)?;
        let rendition = near.entry.rendition.load();
        let fits = |rendition: &&Arc<Rendition>| {
            Arc::ptr_eq(&rendition.version, &near.version.label)
                // Each of a service's doors has the template in a place of its own.
                && rendition.route == self.endpoint.route
        };
        let Some(rendition) = rendition.as_ref().filter(fits) else { return Some(Look::Guest(None)) };
        near.counters.near_hit();
        let response = answer(&rendition.headers, near.entry.value.clone(), near.entry.ttl_ms());
        Some(Look::Answer(response, near.version))
    }

    /// The answer out of the store.
    async fn far(&self) -> Look {
        let Some(read) = self.endpoint.handler.read(&self.key).await else { return Look::Guest(None) };
        let (value, ttl_ms) = match read.found {
            Found::Value(value, ttl_ms) => (value, ttl_ms),
            Found::Nothing => return Look::Guest(Some((self.key.clone(), Found::Nothing))),
        };
        let given = self.cache.given(&self.key).filter(|given| {
            Arc::ptr_eq(&given.version, &read.version.label)
                && policy::entity_tag(&value).as_ref() == Some(&given.tag)
        });
        let Some(given) = given else {
            return Look::Guest(Some((self.key.clone(), Found::Value(value, ttl_ms))));
        };
        read.counters.hit();
        let value = Bytes::from(value);
        // The look may have brought the value near; the next one then needs no more.
        if let Some(near) = self.endpoint.handler.near(&self.key)
            && near.entry.value == value
            && Arc::ptr_eq(&near.version.label, &given.version)
        {
            self.render(&near, given.headers.clone());
        }
        Look::Answer(answer(&given.headers, value, ttl_ms), read.version)
    }
}

fn answer(given: &HeaderMap, value: Bytes, ttl_ms: u64) -> Response {
    let mut headers = given.clone();
    if let Some(status) = policy::hit_status(ttl_ms) {
        headers.insert(CACHE_STATUS, status);
    }
    Response { status: StatusCode::OK, headers, body: value }
}

/// The header that is kept of an answer. All fields that will be set for each answer have
/// their place from the start, so that the copy for an answer need not grow.
fn header(response: &Response, tag: &HeaderValue, version: &VersionName) -> HeaderMap {
    let mut headers = response.headers.clone();
    headers.insert(ETAG, tag.clone());
    headers.insert(CACHE_STATUS, HeaderValue::from_static(""));
    super::sign(&mut headers, &RequestId::new(), Some(version));
    headers.reserve(Verdict::FIELDS);
    headers
}
