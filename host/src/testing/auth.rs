//! Passwords and tokens that a test can foresee.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;

use crate::capability::auth::{AccessToken, Auth, Error};

/// Passwords whose hash is `hashed:PASSWORD`, and access tokens `SUBJECT:ROLE`, good for
/// 900 seconds. Clones share what they are told.
#[derive(Debug, Clone, Default)]
pub struct FakeAuth {
    busy: Arc<AtomicBool>,
    hashed: Arc<AtomicUsize>,
    verified: Arc<AtomicUsize>,
}

impl FakeAuth {
    /// From now on too many passwords are being hashed, or not any more.
    pub fn busy(&self, busy: bool) {
        self.busy.store(busy, Relaxed);
    }

    /// How many passwords were to be hashed, busy or not.
    pub fn hashed(&self) -> usize {
        self.hashed.load(Relaxed)
    }

    /// How many passwords were to be verified, with a hash or without one.
    pub fn verified(&self) -> usize {
        self.verified.load(Relaxed)
    }

    fn room(&self) -> Result<(), Error> {
        if self.busy.load(Relaxed) { Err(Error::Busy(1_500)) } else { Ok(()) }
    }
}

#[async_trait]
impl Auth for FakeAuth {
    async fn hash(&self, password: String) -> Result<String, Error> {
        self.hashed.fetch_add(1, Relaxed);
        self.room().map(|()| format!("hashed:{password}"))
    }

    async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        self.verified.fetch_add(1, Relaxed);
        self.room().map(|()| hash.is_some_and(|hash| hash == format!("hashed:{password}")))
    }

    fn issue(&self, subject: &str, role: &str) -> AccessToken {
        AccessToken { token: format!("{subject}:{role}"), expires_in_s: 900 }
    }
}
