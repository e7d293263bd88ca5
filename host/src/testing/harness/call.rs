//! One request of a test.

use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Answer, Harness};
use crate::runtime::{Failure, Identity, Request, RequestId};
use crate::telemetry::trace::TraceContext;

/// A request, sent when it is awaited.
///
/// It gives the component's [`Answer`], or the [`Failure`] that a host would have made
/// an answer of: the guest trapped, ran into its deadline, or gave no valid answer.
#[must_use = "a call is sent when it is awaited"]
pub struct Call<'a> {
    harness: &'a Harness,
    request: Request,
}

impl<'a> Call<'a> {
    pub(super) fn new(harness: &'a Harness, method: Method, path: &str) -> Self {
        let target = PathAndQuery::try_from(path).unwrap_or_else(|_| panic!("{path:?} is no path"));
        let path = target.path();
        let matched =
            harness.routes.at(path).unwrap_or_else(|_| panic!("no route of the harness matches {path}"));
        let params = matched.params.iter().map(|(name, value)| {
            let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
            let value = decoded.unwrap_or_else(|_| panic!("{name} is not UTF-8 in {path}"));
            (name.into(), value.into_owned())
        });
        let request = Request {
            method,
            route: matched.value.clone(),
            params: params.collect(),
            target: target.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            identity: None,
            read: None,
            id: RequestId::new(),
            trace: TraceContext::new(),
            depth: 0,
            deadline: Instant::now(),
        };
        Self { harness, request }
    }

    /// One header field more.
    ///
    /// # Panics
    /// When the name or the value is not legal.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap_or_else(|_| panic!("the value of {name}: {value:?}"));
        self.request.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// A JSON body, from its text or a [`serde_json::Value`].
    pub fn json(mut self, body: &(impl ToString + ?Sized)) -> Self {
        self.request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body(body.to_string())
    }

    /// A body as it is, without a content type.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.request.body = body.into();
        self
    }

    /// A verified caller.
    pub fn caller(mut self, subject: &str, roles: &[&str]) -> Self {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.request.identity = Some(Identity { subject: subject.to_owned(), roles, expires_at: None });
        self
    }
}

impl<'a> IntoFuture for Call<'a> {
    type Output = Result<Answer, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { harness, mut request } = self;
        request.deadline = Instant::now() + harness.version.limits().request_timeout;
        Box::pin(async move { Ok(harness.version.answer(request).await?.into()) })
    }
}
