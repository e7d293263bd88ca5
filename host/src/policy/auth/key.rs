//! One signing key.

use std::fmt;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::token::ALGORITHM;

/// An Ed25519 key pair (RFC 8032) under its name.
pub struct SigningKey {
    kid: String,
    pair: Ed25519KeyPair,
}

/// The public half as a JWK (RFC 8037, section 2).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Jwk {
    #[schema(example = "OKP")]
    kty: &'static str,
    #[schema(example = "Ed25519")]
    crv: &'static str,
    #[schema(example = "sig")]
    r#use: &'static str,
    #[schema(example = "EdDSA")]
    alg: &'static str,
    #[schema(example = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")]
    kid: String,
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    x: String,
}

impl SigningKey {
    /// A new key, and its PKCS #8 document (RFC 5958), which is all that need be kept.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn generate() -> anyhow::Result<(Self, Vec<u8>)> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| anyhow!("the system gives no random numbers"))?;
        Ok((Self::from_pkcs8(document.as_ref())?, document.as_ref().to_vec()))
    }

    /// A key that was kept. Its halves are checked against each other.
    ///
    /// # Errors
    /// The document holds no Ed25519 key pair.
    pub fn from_pkcs8(document: &[u8]) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(document)
            .map_err(|rejected| anyhow!("{rejected}"))
            .context("no Ed25519 key pair")?;
        let kid = thumbprint(&encoded(&pair));
        Ok(Self { kid, pair })
    }

    /// Its name: the SHA-256 thumbprint of the public half (RFC 7638), so that two keys
    /// never have the same one.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The signature of a message.
    pub(super) fn sign(&self, message: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.pair.sign(message)
    }

    /// Whether a message has this key's signature. `ring` refuses a signature whose `S` is
    /// not reduced (RFC 8032, section 5.1.7), so each message has one.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.pair.public_key()).verify(message, signature).is_ok()
    }

    /// The public half.
    pub(super) fn jwk(&self) -> Jwk {
        let (kid, x) = (self.kid.clone(), encoded(&self.pair));
        Jwk { kty: "OKP", crv: "Ed25519", r#use: "sig", alg: ALGORITHM, kid, x }
    }
}

impl fmt::Debug for SigningKey {
    /// Says nothing of the private half, so that no log can.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn encoded(pair: &Ed25519KeyPair) -> String {
    URL_SAFE_NO_PAD.encode(pair.public_key())
}

/// RFC 8037, appendix A.3: the required members in the order of their names.
fn thumbprint(x: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_the_rfcs_example() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(thumbprint(x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_is_the_same_after_it_was_kept() {
        let (key, document) = SigningKey::generate().unwrap();
        let kept = SigningKey::from_pkcs8(&document).unwrap();
        assert_eq!(kept.kid(), key.kid());
        assert!(kept.verify(b"message", key.sign(b"message").as_ref()));
        assert!(!kept.verify(b"another", key.sign(b"message").as_ref()));
        assert!(SigningKey::from_pkcs8(&document[1..]).is_err());
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ kid: {:?}, .. }}", key.kid()));
    }
}
