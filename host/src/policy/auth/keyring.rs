//! The keys that are in use at one moment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key::{Jwk, SigningKey};
use crate::limits::{SIGNING_KEY_RETIREMENT, SIGNING_KEYS_GONE_MAX};

/// Keys, the newest first, and never none. Made whole and never changed; a rotation makes
/// another one.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<Arc<SigningKey>>,
    made_at: Vec<Timestamp>,
    jwks: Bytes,
    /// The names of keys that this host has known and that are gone, the latest last.
    gone: Vec<String>,
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// New tokens are signed with it.
    Current,
    /// Tokens that it has signed are taken until they expire.
    Previous,
}

impl Keyring {
    /// The keys of which tokens may still be on their way: the newest one, the one before
    /// it, and those that lost their place less than [`SIGNING_KEY_RETIREMENT`] ago. `keys`
    /// are the newest first, each with its age.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(keys: Vec<(SigningKey, Timestamp, Duration)>) -> anyhow::Result<Self> {
        let (mut ring, mut made_at): (Vec<Arc<SigningKey>>, Vec<Timestamp>) = (Vec::new(), Vec::new());
        let mut successor_age = None;
        for (key, at, age) in keys {
            let retired = successor_age.is_some_and(|age| age > SIGNING_KEY_RETIREMENT);
            if ring.len() < 2 || !retired {
                ring.push(Arc::new(key));
                made_at.push(at);
            }
            successor_age = Some(age);
        }
        ring.first().context("there is no signing key")?;
        let jwks = Jwks { keys: ring.iter().map(|key| key.jwk()).collect() };
        let jwks = serde_json::to_vec(&jwks).context("the public keys are not JSON")?.into();
        Ok(Self { keys: ring, made_at, jwks, gone: Vec::new() })
    }

    /// The same, on a host that has used the keys of `former` until now: it remembers those
    /// that are gone. A crowd that comes with their tokens, as after a leak, is refused at
    /// once and has nobody look for them.
    #[must_use]
    pub(super) fn after(mut self, former: &Self) -> Self {
        let known = former.gone.iter().map(String::as_str).chain(former.keys.iter().map(|key| key.kid()));
        let gone: Vec<_> = known.filter(|kid| self.key(kid).is_none()).map(str::to_owned).collect();
        let forgotten = gone.len().saturating_sub(SIGNING_KEYS_GONE_MAX);
        self.gone = gone.into_iter().skip(forgotten).collect();
        self
    }

    /// Whether a key of this name was in use once and is not any more.
    pub(super) fn is_gone(&self, kid: &str) -> bool {
        self.gone.iter().any(|gone| gone == kid)
    }

    /// The key that signs.
    pub fn current(&self) -> &SigningKey {
        &self.keys[0]
    }

    /// The key of this name. Names are compared and never looked up anywhere, so one that
    /// looks like a path or an address is an unknown one.
    pub fn key(&self, kid: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.kid() == kid).map(|key| &**key)
    }

    /// The public halves as a JWK set (RFC 7517, section 5), the newest first.
    pub fn jwks(&self) -> &Bytes {
        &self.jwks
    }

    /// The names of the keys with their ages and states, the newest first.
    pub fn states(&self) -> impl Iterator<Item = (&str, Timestamp, KeyState)> {
        self.keys.iter().zip(&self.made_at).enumerate().map(|(place, (key, at))| {
            let state = if place == 0 { KeyState::Current } else { KeyState::Previous };
            (key.kid(), *at, state)
        })
    }
}

/// Public keys (RFC 7517, section 5).
#[derive(Serialize, ToSchema)]
pub(crate) struct Jwks {
    keys: Vec<Jwk>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ages: &[u64]) -> anyhow::Result<Keyring> {
        let key = |age: &u64| {
            let (key, _) = SigningKey::generate()?;
            Ok((key, Timestamp::now(), Duration::from_secs(*age)))
        };
        Keyring::new(ages.iter().map(key).collect::<anyhow::Result<_>>()?)
    }

    #[test]
    fn a_key_is_kept_until_the_last_of_its_tokens_has_expired() {
        let over = SIGNING_KEY_RETIREMENT.as_secs() + 1;
        assert!(ring(&[]).is_err());
        for (ages, kept) in [
            (&[0][..], 1),
            (&[0, 5], 2),
            // Rotated twice in a row: tokens of all three are on their way.
            (&[0, 5, 9], 3),
            // The one before the current one stays; those before it have no tokens left.
            (&[over, over * 2], 2),
            (&[over, over * 2, over * 3], 2),
            (&[0, over, over * 2], 2),
            (&[0, over - 1, over * 2], 3),
        ] {
            let ring = ring(ages).unwrap();
            assert_eq!(ring.keys.len(), kept, "{ages:?}");
            let states: Vec<_> = ring.states().map(|(_, _, state)| state).collect();
            assert_eq!(states[0], KeyState::Current);
            assert!(states[1..].iter().all(|state| *state == KeyState::Previous));
        }
    }

    #[test]
    fn keys_that_are_gone_are_remembered_and_not_for_ever() {
        let mut now = ring(&[0, 5]).unwrap();
        let first = now.keys[1].kid().to_owned();
        for _ in 0..SIGNING_KEYS_GONE_MAX / 2 {
            now = ring(&[0, 5]).unwrap().after(&now);
            assert!(now.is_gone(&first) && now.keys.iter().all(|key| !now.is_gone(key.kid())));
        }
        now = ring(&[0]).unwrap().after(&now);
        assert!(!now.is_gone(&first) && now.gone.len() == SIGNING_KEYS_GONE_MAX);
    }

    #[test]
    fn the_public_keys_have_no_private_member() {
        let ring = ring(&[0, 5]).unwrap();
        let jwks: serde_json::Value = serde_json::from_slice(ring.jwks()).unwrap();
        for (place, jwk) in jwks["keys"].as_array().unwrap().iter().enumerate() {
            let members: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(members.len(), 6, "{members:?}");
            assert!(!members.contains(&"d"));
            assert_eq!(jwk["kid"], ring.keys[place].kid());
        }
    }
}
