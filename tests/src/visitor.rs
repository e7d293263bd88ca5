//! Who tries a system out: a client of its HTTPS, and the owner of its backends.

use std::sync::Arc;

use http::Method;
use serde_json::Value;
use tokio_postgres::SimpleQueryMessage;
use wasmyard::testing::servers::TestRedis;

use crate::Answer;

/// What a story needs of the system that it is told about, whichever that is.
#[derive(Clone)]
pub struct Visitor {
    /// Where HTTPS is served, e.g. `https://localhost:8443`.
    pub origin: String,
    /// The Redis that only this system uses; one that a test brought itself is not here.
    pub redis: Option<Arc<TestRedis>>,
    /// The owner's connection string.
    pub database: String,
    pub(crate) client: reqwest::Client,
}

impl Visitor {
    /// A client that trusts this system's certificate and no other.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The address of a path over HTTPS.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// A session of the database's owner.
    pub async fn session(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.database, tokio_postgres::NoTls).await.expect("the database");
        tokio::spawn(connection);
        client
    }

    /// Runs SQL as the database's owner. Gives the last statement's rows as `psql -A -t`
    /// prints them.
    pub async fn sql(&self, sql: &str) -> String {
        let ran = self.session().await.simple_query(sql).await;
        let messages = ran.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let mut rows = Vec::new();
        for message in &messages {
            match message {
                SimpleQueryMessage::RowDescription(_) => rows.clear(),
                SimpleQueryMessage::Row(row) => {
                    let values: Vec<_> = (0..row.len()).map(|n| row.get(n).unwrap_or_default()).collect();
                    rows.push(values.join("|"));
                }
                _ => {}
            }
        }
        rows.join("\n")
    }

    /// Runs a command on the system's own Redis with `redis-cli`, and gives what it prints.
    pub fn redis_cli(&self, arguments: &[&str]) -> String {
        self.redis.as_ref().expect("the system's own Redis").cli(arguments)
    }

    /// Sends a request over HTTPS.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = self.client.request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::to(request.body(body.to_vec())).await
    }

    /// GET over HTTPS.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], b"").await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, body).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::PATCH, path, body).await
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], body.to_string().as_bytes()).await
    }
}

/// Makes each story a test on both systems: as it is told of the shop, and of the native
/// peer that the shop is measured against.
#[macro_export]
macro_rules! on_both {
    ($($story:ident),+ $(,)?) => {
        mod on_wasmyard {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                let shop = $crate::Shop::start().await;
                super::$story(&shop).await;
            })+
        }
        mod on_native {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                let native = $crate::NativePeer::start().await;
                super::$story(&native).await;
            })+
        }
    };
}
