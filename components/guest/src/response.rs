//! Building a response.

use serde::Serialize;

use crate::{Problem, Response};

impl Response {
    /// A value as JSON.
    ///
    /// # Errors
    ///
    /// 500 when the value cannot be written as JSON, which is an error of the guest.
    pub fn json(status: u16, value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value)
            .map_err(|error| Problem::internal(format!("the answer is not valid JSON: {error}")))?;
        Ok(Self::json_bytes(status, body))
    }

    /// Bytes that are JSON already.
    pub fn json_bytes(status: u16, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        Self { status, headers, body }
    }

    /// 201 for something that was made, and now stands at `location`.
    ///
    /// # Errors
    ///
    /// As [`Response::json`].
    pub fn created(location: &str, value: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self::json(201, value)?.with_header("location", location))
    }

    /// The same response with one header field more.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// The first header field of that name (lower case), if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(field, _)| field == name)?;
        std::str::from_utf8(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_says_where_it_is() {
        let response = Response::created("/api/v1/things/7", &[7]).expect("JSON");
        assert_eq!(response.status, 201);
        assert_eq!(response.header("location"), Some("/api/v1/things/7"));
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.body, b"[7]");
    }
}
