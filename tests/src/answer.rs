//! An answer, and what a test asks of it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use serde_json::Value;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The version of HTTP that it came in.
    pub http: Version,
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Reads a response to its end.
    ///
    /// # Panics
    /// When it breaks off.
    pub async fn read(response: reqwest::Response) -> Self {
        let (http, status) = (response.version(), response.status());
        let headers = response.headers().clone();
        let body = response.bytes().await.unwrap_or_else(|error| panic!("no whole body: {error:?}"));
        Self { http, status, headers, body }
    }

    /// Sends a request, and reads its answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        Self::read(response).await
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A header's value, if there is exactly one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    }

    /// The label of the version that answered.
    ///
    /// # Panics
    /// When none did.
    pub fn version(&self) -> &str {
        let version = self.header("wasmyard-version").and_then(|version| version.split_once('@'));
        version.unwrap_or_else(|| panic!("no version in {self:?}")).1
    }

    /// The id that the host gave to the request.
    ///
    /// # Panics
    /// When there is none.
    pub fn request_id(&self) -> &str {
        self.header("x-request-id").unwrap_or_else(|| panic!("no request id in {self:?}"))
    }

    /// The problem document of an answer that must have this status.
    ///
    /// # Panics
    /// When it is another answer, or lacks a member that every problem has.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"], self.request_id(), "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
        }
        problem
    }

    /// What the problem names as wrong: the JSON pointers, and the names of query
    /// parameters.
    ///
    /// # Panics
    /// As [`Answer::problem`].
    pub fn faults(&self, status: u16) -> Vec<String> {
        let problem = self.problem(status);
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let named = errors.iter().map(|error| {
            assert!(error["detail"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
            error["pointer"].as_str().or(error["parameter"].as_str()).unwrap_or_default().to_owned()
        });
        named.collect()
    }
}
