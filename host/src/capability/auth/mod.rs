//! `wasmyard:platform/auth`: passwords, access tokens and opaque tokens.
//!
//! [`Auth`] is the seam: [`HostAuth`] answers it in the host, [`crate::testing::FakeAuth`]
//! in a component's tests. Hashing costs more processor time than anything else a request
//! can ask for, so it is done by a few threads of low priority with bounded queues
//! (`threads`): a flood of logins makes logins busy, and nothing else slow; one of new
//! accounts makes new accounts busy, and leaves logins their own queue.

mod host;
mod password;
mod threads;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

pub use crate::bindings::wasmyard::platform::auth::{AccessToken, Error, OpaqueToken};
pub use threads::PasswordThreads;
use threads::Purpose;

use crate::limits::OPAQUE_TOKEN_BYTES;
use crate::policy::auth::Authority;

/// Passwords and access tokens.
#[async_trait]
pub trait Auth: Send + Sync {
    /// The hash of a password, in the PHC string format.
    async fn hash(&self, password: String) -> Result<String, Error>;

    /// Whether `password` is the one of `hash`; without a hash it is not, after the same
    /// work.
    async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error>;

    /// An access token in the name of `subject`, who holds `role`.
    fn issue(&self, subject: &str, role: &str) -> AccessToken;
}

/// The real [`Auth`].
pub struct HostAuth {
    authority: Arc<Authority>,
    threads: Arc<PasswordThreads>,
}

impl HostAuth {
    /// Tokens of `authority`, and passwords on `threads`.
    pub fn new(authority: Arc<Authority>, threads: Arc<PasswordThreads>) -> Self {
        Self { authority, threads }
    }
}

#[async_trait]
impl Auth for HostAuth {
    async fn hash(&self, password: String) -> Result<String, Error> {
        self.threads.run(Purpose::NewPassword, move |memory| password::hash(&password, memory)).await?
    }

    async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        let verify = move |memory: &mut _| password::verify(&password, hash.as_deref(), memory);
        self.threads.run(Purpose::Login, verify).await?
    }

    fn issue(&self, subject: &str, role: &str) -> AccessToken {
        let issued = self.authority.issue(subject, role);
        let seconds = u32::try_from(issued.expires_in.as_secs()).unwrap_or(u32::MAX);
        AccessToken { token: issued.token, expires_in_s: seconds }
    }
}

/// A new opaque token.
fn opaque_token() -> Result<OpaqueToken, getrandom::Error> {
    let mut random = [0; OPAQUE_TOKEN_BYTES];
    getrandom::fill(&mut random)?;
    let token = URL_SAFE_NO_PAD.encode(random);
    let digest = digest(&token);
    Ok(OpaqueToken { token, digest })
}

/// What is stored of an opaque token.
fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
