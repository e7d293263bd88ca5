//! The operator's side: the API on the admin port.

use std::net::SocketAddr;
use std::path::Path;

use http::Method;
use serde_json::Value;

use crate::Answer;

/// An operator who has the token.
#[derive(Clone)]
pub struct Operator {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Operator {
    /// Reads the token from the host's state folder.
    ///
    /// # Panics
    /// When it is not there.
    pub fn new(admin: SocketAddr, state_dir: &Path) -> Self {
        let token = std::fs::read_to_string(state_dir.join("admin-token")).expect("the operator's token");
        let base = format!("http://{admin}");
        // A request that is refused before its body was read ends its connection, so each
        // one gets its own.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
        Self { client, base, token: token.trim().to_owned() }
    }

    /// Sends a request with these header fields and no others of its own.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.body(body).send().await.expect("the operator's API answers")).await
    }

    /// GET, without the token.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    /// The metrics, as a collector asks for them.
    pub async fn metrics(&self) -> Answer {
        let accept = [("accept", "application/openmetrics-text; version=1.0.0")];
        self.send(Method::GET, "/metrics", &accept, Vec::new()).await
    }

    /// The value of the `Authorization` field.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Deploys a component.
    pub async fn deploy(&self, service: &str, component: Vec<u8>) -> Answer {
        let (path, authorization) = (format!("/v1/services/{service}/deploy"), self.authorization());
        let headers = [("authorization", &*authorization), ("content-type", "application/wasm")];
        self.send(Method::POST, &path, &headers, component).await
    }

    /// Deploys a component that must be taken; gives the label of its version.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn deployed(&self, service: &str, component: Vec<u8>) -> String {
        let answer = self.deploy(service, component).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["version"].as_str().expect("the new version's label").to_owned()
    }

    /// Goes back to the version before.
    pub async fn rollback(&self, service: &str) -> Answer {
        let (path, authorization) = (format!("/v1/services/{service}/rollback"), self.authorization());
        self.send(Method::POST, &path, &[("authorization", &*authorization)], Vec::new()).await
    }

    /// A service's history, newest first.
    pub async fn history(&self, service: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/services/{service}/history")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["versions"].as_array().expect("a list of versions").clone()
    }
}
