//! Somebody who has logged in.

use http::Method;
use serde_json::{Value, json};

use crate::{Answer, Visitor, eventually};

/// What a login gave.
#[derive(Debug, Clone)]
pub struct Session {
    /// The access token.
    pub access: String,
    /// The refresh token that has not been used yet.
    pub refresh: String,
}

impl Session {
    /// Reads an answer that must be a login's, or a refresh's.
    ///
    /// # Panics
    /// When it is not.
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let (granted, text) = (answer.json(), |value: &Value| value.as_str().expect("a token").to_owned());
        Self { access: text(&granted["access_token"]), refresh: text(&granted["refresh_token"]) }
    }

    /// Sends a request in their name; `body` is JSON, or `null` for none.
    pub async fn send(&self, visitor: &Visitor, method: Method, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.access);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        match body {
            Value::Null => visitor.send(method, path, &headers[..1], b"").await,
            body => visitor.send(method, path, &headers, body.to_string().as_bytes()).await,
        }
    }

    /// GET in their name.
    pub async fn get(&self, visitor: &Visitor, path: &str) -> Answer {
        self.send(visitor, Method::GET, path, &Value::Null).await
    }
}

impl Visitor {
    /// Asks for a login.
    pub async fn try_login(&self, username: &str, password: &str) -> Answer {
        self.post("/api/v1/auth/login", &json!({ "username": username, "password": password })).await
    }

    /// Logs one of the sample users in.
    ///
    /// # Panics
    /// When the login is refused.
    pub async fn login(&self, username: &str) -> Session {
        self.login_with(username, &format!("{username}-password")).await
    }

    /// Logs somebody in who has this password.
    ///
    /// # Panics
    /// When the login is refused.
    pub async fn login_with(&self, username: &str, password: &str) -> Session {
        Session::of(&hashed(async || self.try_login(username, password).await).await)
    }

    /// Asks for the next tokens.
    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("/api/v1/auth/refresh", &json!({ "refresh_token": token })).await
    }
}

/// The answer of a host that has hashed a password for it. A host's own time for that is
/// short, and its threads give way to all others: on a busy machine it says that one should
/// come back, and a test does.
pub async fn hashed(mut ask: impl AsyncFnMut() -> Answer) -> Answer {
    eventually("a password is hashed", async || Some(ask().await).filter(|answer| answer.status != 503)).await
}
