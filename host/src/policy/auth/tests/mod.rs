//! Tokens of all kinds against one authority, whose keys are kept in memory.

mod access;
mod hostile;
mod keys;
mod looks;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::*;
use crate::manifest;

/// Keys in memory; clones share them, as hosts share a database.
#[derive(Clone, Default)]
pub(crate) struct MemoryKeys {
    keys: Arc<Mutex<Vec<Kept>>>,
    /// How often somebody has asked for them.
    loads: Arc<AtomicUsize>,
    /// Whether they are given to nobody who asks.
    held: watch::Sender<bool>,
}

struct Kept {
    kid: String,
    sealed: Vec<u8>,
    at: Instant,
}

#[async_trait]
impl KeyStore for MemoryKeys {
    async fn load(&self) -> anyhow::Result<Vec<StoredKey>> {
        self.loads.fetch_add(1, Relaxed);
        self.held.subscribe().wait_for(|held| !held).await?;
        let key = |kept: &Kept| StoredKey {
            kid: kept.kid.clone(),
            sealed: kept.sealed.clone(),
            made_at: Timestamp::now(),
            age: kept.at.elapsed(),
        };
        Ok(self.keys.lock().unwrap().iter().rev().map(key).collect())
    }

    async fn add(&self, kid: &str, sealed: &[u8], adding: Adding) -> anyhow::Result<()> {
        let mut keys = self.keys.lock().unwrap();
        if adding == Adding::Only {
            keys.clear();
        }
        if adding != Adding::First || keys.is_empty() {
            keys.push(Kept { kid: kid.to_owned(), sealed: sealed.to_vec(), at: Instant::now() });
        }
        Ok(())
    }
}

/// A host over these keys.
pub(crate) async fn host(keys: &MemoryKeys) -> Authority {
    open(keys, b"secret").await.unwrap()
}

async fn open(keys: &MemoryKeys, secret: &[u8]) -> anyhow::Result<Authority> {
    Authority::open(keys.clone(), Seal::new(secret)?, &manifest::Auth::default()).await
}

/// A host of its own.
pub(crate) async fn alone() -> Authority {
    host(&MemoryKeys::default()).await
}

#[tokio::test]
async fn what_is_issued_is_verified() {
    let authority = alone().await;
    let issued = authority.issue("7", "admin");
    assert_eq!(issued.expires_in, Duration::from_secs(900));
    let identity = authority.verify(&issued.token).await.unwrap();
    assert_eq!((identity.subject.as_str(), identity.roles.as_slice()), ("7", &["admin".to_owned()][..]));
    assert_ne!(authority.issue("7", "admin").token, issued.token, "each has a jti of its own");
}
