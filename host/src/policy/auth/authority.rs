//! Who issues tokens and knows the callers.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::claims::Claims;
use super::key::SigningKey;
use super::keyring::Keyring;
use super::seal::Seal;
use super::store::{Adding, KeyStore};
use super::token::{self, Invalid};
use crate::limits::{ACCESS_TOKEN_TTL, SIGNING_KEYS_LOOK_PAUSE, SIGNING_KEYS_TIMEOUT};
use crate::manifest;
use crate::runtime::Identity;

/// Issues and verifies access tokens, with keys that all hosts of one database share.
pub struct Authority {
    keys: ArcSwap<Keyring>,
    store: Box<dyn KeyStore>,
    seal: Seal,
    issuer: String,
    audience: String,
    /// When the store was asked last, after the start. Held while it is asked, so that what
    /// was read first never replaces what was read later.
    looked: Mutex<Option<Instant>>,
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
        let mut keys = load(&store, &seal).await?;
        if keys.is_none() {
            let (key, document) = SigningKey::generate()?;
            within(store.add(key.kid(), &seal.close(key.kid(), &document)?, Adding::First)).await?;
            keys = load(&store, &seal).await?;
        }
        let keys = keys.context("the signing key that was just made is gone")?;
        Ok(Self {
            keys: ArcSwap::from_pointee(keys),
            store: Box::new(store),
            seal,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            looked: Mutex::default(),
        })
    }

    /// The keys in use.
    pub fn keys(&self) -> Arc<Keyring> {
        self.keys.load_full()
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
        let token = token::write(self.keys.load().current(), &claims);
        AccessToken { token, expires_in: ttl }
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// [`Invalid`], which says why it speaks for nobody.
    pub async fn verify(&self, token: &str) -> Result<Identity, Invalid> {
        let claims = match token::read(token, &self.keys.load()) {
            // Another host may have made the key a moment ago.
            Err(Invalid::UnknownKey) if self.look().await => token::read(token, &self.keys.load())?,
            read => read?,
        };
        claims.check(now(), &self.issuer, &self.audience)?;
        Ok(Identity { subject: claims.sub, roles: vec![claims.role], expires_at: Some(claims.exp) })
    }

    /// Makes a new key, which signs from now on: here at once, and on each other host when
    /// it looks next, at most [`limits::SIGNING_KEYS_PERIOD`] later. Tokens of the keys
    /// before it are taken until they expire.
    ///
    /// [`limits::SIGNING_KEYS_PERIOD`]: crate::limits::SIGNING_KEYS_PERIOD
    ///
    /// # Errors
    /// The store cannot be reached; whether the key was added is then unknown.
    pub async fn rotate(&self) -> anyhow::Result<Arc<Keyring>> {
        self.add(Adding::Newest).await
    }

    /// The same, and tokens of the keys before it are refused: here at once, and on each
    /// other host when it looks next. For a key that somebody else may know.
    ///
    /// # Errors
    /// As [`Authority::rotate`].
    pub async fn revoke(&self) -> anyhow::Result<Arc<Keyring>> {
        self.add(Adding::Only).await
    }

    async fn add(&self, adding: Adding) -> anyhow::Result<Arc<Keyring>> {
        let (key, document) = SigningKey::generate()?;
        let sealed = self.seal.close(key.kid(), &document)?;
        let mut looked = self.looked.lock().await;
        within(self.store.add(key.kid(), &sealed, adding)).await?;
        self.reload(&mut looked).await?;
        Ok(self.keys())
    }

    /// Looks for keys that other hosts have made, once in each `period`. Ends when nobody
    /// else holds the authority.
    pub fn follow(self: &Arc<Self>, period: Duration) -> impl Future<Output = ()> + Send + 'static {
        let authority = Arc::downgrade(self);
        async move {
            let mut failing = false;
            loop {
                tokio::time::sleep(period).await;
                let Some(authority) = authority.upgrade() else { return };
                let mut looked = authority.looked.lock().await;
                let outcome = authority.reload(&mut looked).await;
                if let (Err(error), false) = (&outcome, failing) {
                    tracing::warn!("the signing keys cannot be read, those in use stay: {error:#}");
                }
                failing = outcome.is_err();
            }
        }
    }

    /// Asks the store for keys, unless that was done a moment ago. True if there is reason
    /// to look at the keys in use again.
    async fn look(&self) -> bool {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < SIGNING_KEYS_LOOK_PAUSE) {
            // Whoever held the lock before may have brought the key.
            return true;
        }
        // A failure is told by `follow`, which meets it too.
        self.reload(&mut looked).await.is_ok()
    }

    async fn reload(&self, looked: &mut Option<Instant>) -> anyhow::Result<()> {
        // A store that does not answer is not asked again at once either.
        *looked = Some(Instant::now());
        let keys = load(&*self.store, &self.seal).await?.context("there is no signing key any more")?;
        self.keys.store(Arc::new(keys));
        Ok(())
    }
}

async fn load(store: &dyn KeyStore, seal: &Seal) -> anyhow::Result<Option<Keyring>> {
    let mut keys = Vec::new();
    for stored in within(store.load()).await? {
        let document = seal.open(&stored.kid, &stored.sealed).with_context(|| {
            format!(
                "the signing key {} in the table wasmyard.signing_keys cannot be decrypted with auth.key \
                 (all hosts of a database need the same one; to begin anew, delete the table's rows)",
                stored.kid
            )
        })?;
        let key = SigningKey::from_pkcs8(&document)?;
        keys.push((key, stored.made_at, stored.age));
    }
    if keys.is_empty() { Ok(None) } else { Keyring::new(keys).map(Some) }
}

async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    timeout(SIGNING_KEYS_TIMEOUT, work).await.context("the database did not answer in time")?
}

/// Seconds since 1970-01-01T00:00:00Z.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
