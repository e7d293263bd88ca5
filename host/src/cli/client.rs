//! A client of the running host's API, over loopback HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{CliError, Context, Exit};
use crate::admin::api::ProblemReport;
use crate::limits::{ADMIN_ANSWER_BYTES_MAX, ADMIN_CONNECT_TIMEOUT};
use crate::manifest::Manifest;
use crate::run_file::RunFile;

/// The API of the host that serves a manifest.
pub(super) struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    admin: SocketAddr,
    token_file: PathBuf,
}

impl Client {
    /// Finds the host: from what it has written down when it started, or at the
    /// manifest's admin port.
    pub(super) fn of_running_host(context: &Context) -> Result<Self, CliError> {
        let manifest = context.load_manifest()?;
        let state_dir = manifest.state_dir();
        let run_file = RunFile::read(&state_dir)
            .map_err(|error| CliError::new(Exit::Io, format!("{}/run.json: {error}", state_dir.display())))?;
        let (admin, token_file) = match run_file {
            Some(run_file) => (run_file.admin, run_file.token_file),
            None => (configured(&manifest), state_dir.join("admin-token")),
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(ADMIN_CONNECT_TIMEOUT));
        let http = HttpClient::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, admin, token_file })
    }

    /// Asks for something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, CliError> {
        self.exchange(Method::GET, path, None, wait).await
    }

    /// Changes something, with the token that only the host's owner can read.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content: Option<Bytes>,
        wait: Duration,
    ) -> Result<T, CliError> {
        self.exchange(Method::POST, path, Some(content.unwrap_or_default()), wait).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content: Option<Bytes>,
        wait: Duration,
    ) -> Result<T, CliError> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.admin));
        if let Some(content) = &content {
            if !content.is_empty() {
                request = request.header(header::CONTENT_TYPE, "application/wasm");
            }
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token()?));
        }
        let request = request
            .body(Full::new(content.unwrap_or_default()))
            .map_err(|error| CliError::new(Exit::Internal, format!("the request cannot be made: {error}")))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| {
                // The legacy client's own words hide the reason in its source.
                let reason = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
                self.unreachable(&reason)
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ADMIN_ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.unreachable(&error.to_string()))?.to_bytes();
            Ok::<_, CliError>((head.status, body))
        };
        let (status, body) = tokio::time::timeout(wait, exchange)
            .await
            .map_err(|_| self.unreachable(&format!("no answer within {} s", wait.as_secs())))??;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            let message =
                format!("what answers at {} is no host that this command understands: {error}", self.admin);
            CliError::new(Exit::Unreachable, message)
        })
    }

    fn token(&self) -> Result<String, CliError> {
        match std::fs::read_to_string(&self.token_file) {
            Ok(token) => Ok(token.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(self.unreachable(&format!("{} does not exist", self.token_file.display())))
            }
            Err(error) => Err(CliError::new(Exit::Io, format!("{}: {error}", self.token_file.display()))),
        }
    }

    fn unreachable(&self, reason: &str) -> CliError {
        let message =
            format!("no host can be reached at {}: {reason}; is `wasmyard up` running?", self.admin);
        CliError::new(Exit::Unreachable, message)
    }
}

/// A path segment, percent-encoded: what a user typed is no part of a URL yet.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn configured(manifest: &Manifest) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, manifest.admin.port).into()
}

/// The host's problem in the command line's words.
fn refusal(status: http::StatusCode, body: &[u8]) -> CliError {
    let Ok(problem) = serde_json::from_slice::<ProblemReport>(body) else {
        return CliError::new(Exit::Failed, format!("the host answered {status}"));
    };
    let exit = match status.as_u16() {
        422 => Exit::Refused,
        409 if problem.step.is_some() => Exit::Refused,
        500.. => Exit::Internal,
        _ => Exit::Failed,
    };
    let mut message = match (&problem.step, &problem.reason, &problem.detail) {
        (Some(step), Some(reason), _) => format!("refused at the step `{step}`: {reason}"),
        (_, _, Some(detail)) => detail.clone(),
        _ => problem.title.clone(),
    };
    if let Some(nearest) = &problem.nearest {
        message.push_str(&format!("; did you mean `{nearest}`?"));
    }
    CliError::new(exit, message).with_details(json!({
        "type": problem.kind,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "step": problem.step,
        "reason": problem.reason,
    }))
}
