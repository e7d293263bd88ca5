//! What a function of the shop answers, and how it goes on the wire.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, LOCATION, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use wasmyard_guest::{Problem, Request};
use xxhash_rust::xxh3::xxh3_128;

use crate::cache::Outcome;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");
const VERSION: HeaderName = HeaderName::from_static("wasmyard-version");

/// An answer before it is signed.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// 200 with JSON.
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status: StatusCode::OK, headers, body: body.into() }
    }

    /// 201 for something that now stands at `location`.
    pub(crate) fn created(location: String, body: Vec<u8>) -> Self {
        let mut answer = Self::json(body);
        answer.status = StatusCode::CREATED;
        answer.put(LOCATION, location);
        answer
    }

    /// The same, with what the cache had to do with it.
    pub(crate) fn cached(mut self, outcome: Outcome) -> Self {
        match outcome.words() {
            std::borrow::Cow::Borrowed(words) => {
                self.headers.insert(CACHE_STATUS, HeaderValue::from_static(words));
            }
            std::borrow::Cow::Owned(words) => self.put(CACHE_STATUS, words),
        }
        self
    }

    /// The same with a `Link`, if there is one.
    pub(crate) fn linked(mut self, link: Option<String>) -> Self {
        if let Some(link) = link {
            self.put(LINK, link);
        }
        self
    }

    /// What does not have this method has these.
    pub(crate) fn allow(mut self, methods: &'static str) -> Self {
        self.headers.insert(ALLOW, HeaderValue::from_static(methods));
        self
    }

    /// A problem, as the components write it.
    pub(crate) fn problem(problem: Problem, path: &str, request_id: &str) -> Self {
        let (path, request_id) = (path.to_owned(), request_id.to_owned());
        let written = problem.answer(&Request { path, request_id, ..Request::default() });
        let headers = written.headers.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        Self {
            status: StatusCode::from_u16(written.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: headers.collect(),
            body: written.body.into(),
        }
    }

    /// Signs it; a 200 to a reader gets its `ETag`, and becomes 304 for one that has it.
    pub(crate) fn sign(
        mut self,
        reads: bool,
        asked: &HeaderMap,
        request_id: HeaderValue,
    ) -> Response<Full<Bytes>> {
        if reads && self.status == StatusCode::OK {
            let tag = format!("\"{:032x}\"", xxh3_128(&self.body));
            let known = asked.get_all(IF_NONE_MATCH).iter().any(|field| names(field.as_bytes(), &tag));
            self.put(ETAG, tag);
            if known {
                self.status = StatusCode::NOT_MODIFIED;
                self.body = Bytes::new();
                self.headers.remove(CONTENT_TYPE);
            }
        }
        self.headers.insert(SERVER, HeaderValue::from_static("native-shop"));
        self.headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        self.headers.insert(REQUEST_ID, request_id);
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    fn put(&mut self, name: HeaderName, value: String) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.insert(name, value);
        }
    }
}

/// A constant answer without any work: what hyper can do at most. It has the bytes that
/// a guest's constant answer has when Wasmyard has signed it.
pub(crate) fn bare() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(hello::BODY.as_bytes())));
    let headers = response.headers_mut();
    headers.reserve(8);
    for (name, value) in [
        (CONTENT_TYPE, "application/json"),
        (ETAG, "\"00000000000000000000000000000000\""),
        (SERVER, "wasmyard"),
        (CONTENT_TYPE_OPTIONS, "nosniff"),
        (REQUEST_ID, "00000000-0000-7000-8000-000000000000"),
        (VERSION, "hello@000000000000"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether `*` or `"a", W/"b"` names the tag, which has no comma in it.
fn names(field: &[u8], tag: &str) -> bool {
    let candidates = field.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    candidates
        .map(|candidate| candidate.strip_prefix(b"W/").unwrap_or(candidate))
        .any(|candidate| candidate == b"*" || candidate == tag.as_bytes())
}
