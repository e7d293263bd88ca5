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

/// Why another service has given no [`Reply`], and what to tell a client.
///
/// To a client it is the same trouble either way. Who has more to ask needs to know whether
/// there is any use in that.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerError {
    /// It is away or has no time (502 to 504, 429, saturated, late, failed): most likely the
    /// next request will fare no better.
    Away(Problem),
    /// This very request is the trouble: it was answered with a status that says nothing, or
    /// it could not be made at all.
    Failed(Problem),
}

impl From<PeerError> for Problem {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Away(problem) | PeerError::Failed(problem) => problem,
        }
    }
}

impl Peer {
    /// Reads a resource, from the other service's cache where it has one.
    ///
    /// # Errors
    ///
    /// A [`PeerError`], which `?` turns into the answer that fits it: 503 when the service
    /// fails, is saturated, or answers with none of 200, 404 and 409; 504 when it does not
    /// answer in time; 500 when the manifest does not grant the call.
    pub fn get(self, path: &str) -> Result<Reply, PeerError> {
        self.ask("GET", path, Vec::new())
    }

    /// Reads a resource as its owner's database has it at this moment.
    ///
    /// # Errors
    ///
    /// As [`Peer::get`].
    pub fn get_fresh(self, path: &str) -> Result<Reply, PeerError> {
        self.ask("GET", path, vec![("cache-control".to_owned(), b"no-cache".to_vec())])
    }

    /// Takes a resource away; of one that is not there the other service may say either.
    ///
    /// # Errors
    ///
    /// As [`Peer::get`].
    pub fn delete(self, path: &str) -> Result<Reply, PeerError> {
        self.ask("DELETE", path, Vec::new())
    }

    /// Brings a resource to a state, given as JSON.
    ///
    /// # Errors
    ///
    /// As [`Peer::get`].
    pub fn put(self, path: &str, state: &impl Serialize) -> Result<Reply, PeerError> {
        let body = Response::json(200, state).map_err(PeerError::Failed)?.body;
        self.send("PUT", path, vec![("content-type".to_owned(), b"application/json".to_vec())], body)
    }

    fn ask(self, method: &str, path: &str, headers: Vec<(String, Vec<u8>)>) -> Result<Reply, PeerError> {
        self.send(method, path, headers, Vec::new())
    }

    fn send(
        self,
        method: &str,
        path: &str,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    ) -> Result<Reply, PeerError> {
        let (method, path) = (method.to_owned(), path.to_owned());
        let request = CallRequest { method, path, query: String::new(), headers, body };
        self.judge(services::call(self.0, &request))
    }

    fn judge(self, outcome: Result<Response, Error>) -> Result<Reply, PeerError> {
        let Self(name) = self;
        let unavailable =
            |cause: String| Problem::unavailable(format!("The {name} service is not available."), cause);
        let of_its_own = |cause: String| PeerError::Failed(Problem::internal(cause));
        match outcome {
            Ok(response) if response.status == 200 => Ok(Reply::Found(response.body)),
            Ok(response) if response.status == 404 => Ok(Reply::Absent),
            Ok(response) if response.status == 409 => Ok(Reply::Refused(response.body)),
            Ok(response) => {
                let problem = unavailable(format!("{name} answered with status {}", response.status));
                Err(match response.status {
                    429 | 502..=504 => PeerError::Away(problem),
                    _ => PeerError::Failed(problem),
                })
            }
            Err(Error::Saturated(retry_ms)) => {
                let seconds = retry_ms.div_ceil(1_000).max(1);
                let problem = unavailable(format!("{name} is saturated"));
                Err(PeerError::Away(problem.with_header("retry-after", seconds.to_string())))
            }
            Err(Error::Timeout) => Err(PeerError::Away(Problem::timeout(
                format!("The {name} service did not answer in time."),
                format!("{name} did not answer in time"),
            ))),
            Err(Error::Failed(reason)) => {
                Err(PeerError::Away(unavailable(format!("{name} failed: {reason}"))))
            }
            Err(Error::NotGranted(reason)) => Err(of_its_own(format!("{name} is not granted: {reason}"))),
            Err(Error::TooDeep) => Err(of_its_own(format!("the call to {name} is nested too deep"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Result<Reply, PeerError> {
        Peer("users").judge(Ok(Response { status, headers: Vec::new(), body: b"{}".to_vec() }))
    }

    fn problem(outcome: Result<Response, Error>) -> Problem {
        Peer("users").judge(outcome).expect_err("no reply").into()
    }

    #[test]
    fn only_found_absent_and_refused_are_answers() {
        assert_eq!(answered(200), Ok(Reply::Found(b"{}".to_vec())));
        assert_eq!(answered(404), Ok(Reply::Absent));
        assert_eq!(answered(409), Ok(Reply::Refused(b"{}".to_vec())));
        // To a client it is the same whatever else the other service says; to who has more to
        // ask it is not.
        for (status, is_away) in
            [(304, false), (401, false), (422, false), (500, false), (429, true), (503, true), (504, true)]
        {
            let error = answered(status).expect_err("no reply");
            assert_eq!(matches!(error, PeerError::Away(_)), is_away, "{status}");
            assert_eq!(Problem::from(error).status(), 503, "{status}");
        }
    }

    #[test]
    fn a_saturated_service_says_when_to_come_back() {
        let response = problem(Err(Error::Saturated(2_500))).answer(&crate::Request::default());
        assert_eq!((response.status, response.header("retry-after")), (503, Some("3")));
    }

    #[test]
    fn a_late_service_is_told_from_one_that_is_away() {
        assert_eq!(problem(Err(Error::Timeout)).status(), 504);
    }

    #[test]
    fn a_missing_grant_is_an_error_of_the_service() {
        assert_eq!(problem(Err(Error::NotGranted("users".into()))).status(), 500);
    }
}
