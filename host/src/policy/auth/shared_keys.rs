//! The keys that all hosts of one database share, and how a host hears of new ones.
//!
//! A host reads them once in each period, and once more when it meets a token of a key that
//! it does not know, which another host may have made a moment ago. Whoever sends such a
//! token waits for a reading that begins after it came: then a key that is still not there
//! does not exist. One reading answers all who wait; tokens cause no more than one in each
//! [`SIGNING_KEYS_LOOK_PAUSE`], so made-up names are no load on the database; and so many
//! may wait, so they are none on the host. It goes on when the one who caused it hangs up.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::key::SigningKey;
use super::keyring::Keyring;
use super::seal::Seal;
use super::store::{Adding, KeyStore};
use crate::limits::{
    SIGNING_KEYS_LOOK_PAUSE, SIGNING_KEYS_TIMEOUT, SIGNING_KEYS_WAIT, SIGNING_KEYS_WAITING_MAX,
};

/// The keys in use, and the store that they come from.
pub(super) struct SharedKeys {
    ring: ArcSwap<Keyring>,
    store: Box<dyn KeyStore>,
    seal: Seal,
    /// Held while the store is asked, so that what was read first never replaces what was
    /// read later.
    readings: Arc<Mutex<Readings>>,
    /// Room for those who wait for a key.
    waiting: Semaphore,
    /// Between two readings that tokens cause.
    pause: Duration,
}

/// What is known of former readings.
#[derive(Default)]
struct Readings {
    /// When the last one began, and whether it succeeded.
    last: Option<(Instant, bool)>,
    /// Before this, no token causes another one.
    pause_until: Option<Instant>,
}

impl SharedKeys {
    /// The keys in `store`. The first host makes the first key.
    ///
    /// # Errors
    /// The store cannot be read, or its keys were encrypted under another secret.
    pub(super) async fn open(store: impl KeyStore + 'static, seal: Seal) -> anyhow::Result<Arc<Self>> {
        let mut ring = load(&store, &seal).await?;
        if ring.is_none() {
            let (key, document) = SigningKey::generate()?;
            within(store.add(key.kid(), &seal.close(key.kid(), &document)?, Adding::First)).await?;
            ring = load(&store, &seal).await?;
        }
        let ring = ring.context("the signing key that was just made is gone")?;
        Ok(Arc::new(Self {
            ring: ArcSwap::from_pointee(ring),
            store: Box::new(store),
            seal,
            readings: Arc::default(),
            waiting: Semaphore::new(SIGNING_KEYS_WAITING_MAX),
            pause: SIGNING_KEYS_LOOK_PAUSE,
        }))
    }

    /// The same, for tests with thousands of keys that nobody knows.
    #[cfg(test)]
    pub(super) fn without_pause(self: Arc<Self>) -> Arc<Self> {
        let keys = Arc::into_inner(self).expect("nobody else holds them yet");
        Arc::new(Self { pause: Duration::ZERO, ..keys })
    }

    /// The keys in use.
    pub(super) fn ring(&self) -> Arc<Keyring> {
        self.ring.load_full()
    }

    /// Makes a new key, and gives the keys that are then in use.
    ///
    /// # Errors
    /// The store cannot be reached; whether the key was added is then unknown.
    pub(super) async fn add(&self, adding: Adding) -> anyhow::Result<Arc<Keyring>> {
        let (key, document) = SigningKey::generate()?;
        let sealed = self.seal.close(key.kid(), &document)?;
        let mut readings = self.turn().await?;
        within(self.store.add(key.kid(), &sealed, adding)).await?;
        self.read(&mut readings).await?;
        Ok(self.ring())
    }

    /// Reads the keys once in each `period`, until nobody else holds them.
    pub(super) fn follow(self: &Arc<Self>, period: Duration) -> impl Future<Output = ()> + Send + 'static {
        let keys = Arc::downgrade(self);
        async move {
            let mut failing = false;
            loop {
                sleep(period).await;
                let Some(keys) = keys.upgrade() else { return };
                let outcome = match keys.turn().await {
                    Ok(mut readings) => keys.read(&mut readings).await,
                    Err(error) => Err(error),
                };
                if let (Err(error), false) = (&outcome, failing) {
                    tracing::warn!("the signing keys cannot be read, those in use stay: {error:#}");
                }
                failing = outcome.is_err();
            }
        }
    }

    /// Waits for a reading that begins after this call. False if there was none in time, or
    /// no room to wait for it: then nobody knows what keys there are.
    pub(super) async fn look(self: &Arc<Self>) -> bool {
        let arrived = Instant::now();
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        let looking = async {
            loop {
                let readings = self.readings.clone().lock_owned().await;
                if let Some((_, succeeded)) = readings.last.filter(|(began, _)| *began > arrived) {
                    return succeeded;
                }
                let Some(pause) = readings.pause_until.filter(|pause| *pause > Instant::now()) else {
                    return self.read_for_all(readings).await;
                };
                // Not held meanwhile: an operator who revokes a key does not wait for this.
                drop(readings);
                sleep_until(pause).await;
            }
        };
        timeout(SIGNING_KEYS_WAIT, looking).await.unwrap_or(false)
    }

    /// A reading that is no single request's.
    async fn read_for_all(self: &Arc<Self>, mut readings: OwnedMutexGuard<Readings>) -> bool {
        let keys = self.clone();
        let reading = tokio::spawn(async move {
            // A failure is told by `follow`, which meets it too.
            let succeeded = keys.read(&mut readings).await.is_ok();
            // From its end on: a store that does not answer is not asked again at once.
            readings.pause_until = Some(Instant::now() + keys.pause);
            succeeded
        });
        reading.await.unwrap_or(false)
    }

    async fn turn(&self) -> anyhow::Result<OwnedMutexGuard<Readings>> {
        let turn = timeout(SIGNING_KEYS_WAIT, self.readings.clone().lock_owned()).await;
        turn.context("the database does not answer those who asked for the keys before")
    }

    async fn read(&self, readings: &mut Readings) -> anyhow::Result<()> {
        let began = Instant::now();
        let found = load(&*self.store, &self.seal).await;
        let found = found.and_then(|ring| ring.context("there is no signing key any more"));
        readings.last = Some((began, found.is_ok()));
        self.ring.store(Arc::new(found?.after(&self.ring.load())));
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
