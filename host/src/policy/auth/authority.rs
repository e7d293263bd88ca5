//! Who issues tokens and knows the callers.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::access::Denied;
use super::claims::Claims;
use super::keyring::Keyring;
use super::seal::Seal;
use super::shared_keys::SharedKeys;
use super::store::{Adding, KeyStore};
use super::token::{self, Invalid};
use crate::limits::ACCESS_TOKEN_TTL;
use crate::manifest;
use crate::runtime::Identity;

/// Issues and verifies access tokens, with keys that all hosts of one database share.
pub struct Authority {
    keys: Arc<SharedKeys>,
    issuer: String,
    audience: String,
}

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// To be sent as `Authorization: Bearer …`.
    pub token: String,
    /// How long it is good for.
    pub expires_in: Duration,
}

impl Authority {
    /// The authority over the keys in `store`, encrypted with `seal`. The first host makes
    /// the first key.
    ///
    /// # Errors
    /// The store cannot be read, or its keys were encrypted under another secret.
    pub async fn open(
        store: impl KeyStore + 'static,
        seal: Seal,
        settings: &manifest::Auth,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            keys: SharedKeys::open(store, seal).await?,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
        })
    }

    /// The same, which looks for each unknown key at once.
    #[cfg(test)]
    pub(super) fn without_pause(self) -> Self {
        Self { keys: self.keys.without_pause(), ..self }
    }

    /// The keys in use.
    pub fn keys(&self) -> Arc<Keyring> {
        self.keys.ring()
    }

    /// A token in the name of `subject`, who holds `role`.
    pub fn issue(&self, subject: &str, role: &str) -> AccessToken {
        self.issue_for(subject, role, ACCESS_TOKEN_TTL)
    }

    /// The same for a time of its own, in whole seconds; at most [`ACCESS_TOKEN_TTL`], beyond
    /// which no host would take it.
    pub fn issue_for(&self, subject: &str, role: &str, ttl: Duration) -> AccessToken {
        let ttl = Duration::from_secs(ttl.min(ACCESS_TOKEN_TTL).as_secs());
        let iat = now();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: subject.to_owned(),
            exp: iat + ttl.as_secs(),
            nbf: None,
            iat,
            jti: uuid::Uuid::new_v4().to_string(),
            role: role.to_owned(),
        };
        let token = token::write(self.keys().current(), &claims);
        AccessToken { token, expires_in: ttl }
    }

    /// Who a token speaks for. Only a token of a key that is not known waits, for at most
    /// [`limits::SIGNING_KEYS_WAIT`].
    ///
    /// [`limits::SIGNING_KEYS_WAIT`]: crate::limits::SIGNING_KEYS_WAIT
    ///
    /// # Errors
    /// [`Denied::InvalidToken`], which says why it speaks for nobody; or
    /// [`Denied::NoAuthority`] while nobody can tell whether its key exists.
    pub async fn verify(&self, token: &str) -> Result<Identity, Denied> {
        let claims = match token::read(token, &self.keys()) {
            // Another host may have made the key a moment ago.
            Err(Invalid::UnknownKey) => {
                let looked = self.keys.look().await;
                match token::read(token, &self.keys()) {
                    Err(Invalid::UnknownKey) if !looked => return Err(Denied::NoAuthority),
                    read => read?,
                }
            }
            read => read?,
        };
        claims.check(now(), &self.issuer, &self.audience)?;
        Ok(Identity { subject: claims.sub, roles: vec![claims.role], expires_at: Some(claims.exp) })
    }

    /// Makes a new key, which signs from now on: here at once, and on each other host when
    /// it looks next, at most [`limits::SIGNING_KEYS_PERIOD`] later. Each host takes the new
    /// key's tokens at once. Those of the keys before it are taken until they expire.
    ///
    /// [`limits::SIGNING_KEYS_PERIOD`]: crate::limits::SIGNING_KEYS_PERIOD
    ///
    /// # Errors
    /// The store cannot be reached; whether the key was added is then unknown.
    pub async fn rotate(&self) -> anyhow::Result<Arc<Keyring>> {
        self.keys.add(Adding::Newest).await
    }

    /// The same, and tokens of the keys before it are refused: here at once, and on each
    /// other host when it looks next, at most [`limits::SIGNING_KEYS_PERIOD`] later. For a
    /// key that somebody else may know.
    ///
    /// [`limits::SIGNING_KEYS_PERIOD`]: crate::limits::SIGNING_KEYS_PERIOD
    ///
    /// # Errors
    /// As [`Authority::rotate`].
    pub async fn revoke(&self) -> anyhow::Result<Arc<Keyring>> {
        self.keys.add(Adding::Only).await
    }

    /// Looks for keys that other hosts have made, once in each `period`. Ends when nobody
    /// else holds the authority.
    pub fn follow(&self, period: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.keys.follow(period)
    }
}

/// Seconds since 1970-01-01T00:00:00Z.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
