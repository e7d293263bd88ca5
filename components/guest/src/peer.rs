//! Asking another service.

use serde::Serialize;

use crate::bindings::wasmyard::platform::services::{self, CallRequest, Error};
use crate::{Problem, Response};

/// Another service, by its name in the manifest.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub &'static str);

/// What another service said of one of its resources.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It exists, and this is it.
    Found(Vec<u8>),
    /// It does not exist.
    Absent,
    /// What was asked for is at odds with what there is (409), and this says how.
    Refused(Vec<u8>),
}

impl Peer {
    /// Reads a resource, from the other service's cache where it has one.
    ///
    /// # Errors
    ///
    /// 503 when the service fails, is saturated, or answers with none of 200, 404 and 409;
    /// 504 when it does not answer in time; 500 when the manifest does not grant the
    /// call.
    pub fn get(self, path: &str) -> Result<Reply, Problem> {
        self.ask("GET", path, Vec::new())
    }

    /// Reads a resource as its owner's database has it at this moment.
    ///
    /// # Errors
    ///
    /// As [`Peer::get`].
    pub fn get_fresh(self, path: &str) -> Result<Reply, Problem> {
        self.ask("GET", path, vec![("cache-control".to_owned(), b"no-cache".to_vec())])
    }

    /// Takes a resource away; of one that is not there the other service may say either.
    ///
    /// # Errors
    ///
    /// As [`Peer::get`].
    pub fn delete(self, path: &str) -> Result<Reply, Problem> {
        self.ask("DELETE", path, Vec::new())
    }

    /// Brings a resource to a state, given as JSON.
    ///
    /// # Errors
    ///
    /// As [`Peer::get`].
    pub fn put(self, path: &str, state: &impl Serialize) -> Result<Reply, Problem> {
        let body = Response::json(200, state)?.body;
        self.send("PUT", path, vec![("content-type".to_owned(), b"application/json".to_vec())], body)
    }

    fn ask(self, method: &str, path: &str, headers: Vec<(String, Vec<u8>)>) -> Result<Reply, Problem> {
        self.send(method, path, headers, Vec::new())
    }

    fn send(
        self,
        method: &str,
        path: &str,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    ) -> Result<Reply, Problem> {
        let (method, path) = (method.to_owned(), path.to_owned());
        let request = CallRequest { method, path, query: String::new(), headers, body };
        self.judge(services::call(self.0, &request))
    }

    fn judge(self, outcome: Result<Response, Error>) -> Result<Reply, Problem> {
        let Self(name) = self;
        let away =
            |cause: String| Problem::unavailable(format!("The {name} service is not available."), cause);
        match outcome {
            Ok(response) if response.status == 200 => Ok(Reply::Found(response.body)),
            Ok(response) if response.status == 404 => Ok(Reply::Absent),
            Ok(response) if response.status == 409 => Ok(Reply::Refused(response.body)),
            Ok(response) => Err(away(format!("{name} answered with status {}", response.status))),
            Err(Error::Saturated(retry_ms)) => {
                let seconds = retry_ms.div_ceil(1_000).max(1);
                Err(away(format!("{name} is saturated")).with_header("retry-after", seconds.to_string()))
            }
            Err(Error::Timeout) => Err(Problem::timeout(
                format!("The {name} service did not answer in time."),
                format!("{name} did not answer in time"),
            )),
            Err(Error::Failed(reason)) => Err(away(format!("{name} failed: {reason}"))),
            Err(Error::NotGranted(reason)) => {
                Err(Problem::internal(format!("{name} is not granted: {reason}")))
            }
            Err(Error::TooDeep) => Err(Problem::internal(format!("the call to {name} is nested too deep"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Result<Reply, u16> {
        let response = Response { status, headers: Vec::new(), body: b"{}".to_vec() };
        Peer("users").judge(Ok(response)).map_err(|problem| problem.status())
    }

    #[test]
    fn only_found_absent_and_refused_are_answers() {
        assert_eq!(answered(200), Ok(Reply::Found(b"{}".to_vec())));
        assert_eq!(answered(404), Ok(Reply::Absent));
        assert_eq!(answered(409), Ok(Reply::Refused(b"{}".to_vec())));
        for status in [304, 401, 429, 500, 503] {
            assert_eq!(answered(status), Err(503), "{status}");
        }
    }

    #[test]
    fn a_saturated_service_says_when_to_come_back() {
        let problem = Peer("users").judge(Err(Error::Saturated(2_500))).expect_err("no reply");
        let response = problem.answer(&crate::Request::default());
        assert_eq!((response.status, response.header("retry-after")), (503, Some("3")));
    }

    #[test]
    fn a_late_service_is_told_from_one_that_is_away() {
        let problem = Peer("users").judge(Err(Error::Timeout)).expect_err("no reply");
        assert_eq!(problem.status(), 504);
    }

    #[test]
    fn a_missing_grant_is_an_error_of_the_service() {
        let problem = Peer("users").judge(Err(Error::NotGranted("users".into()))).expect_err("no reply");
        assert_eq!(problem.status(), 500);
    }
}
