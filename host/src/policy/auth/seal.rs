//! Signing keys encrypted: what is stored in the database is of no use without the host's
//! own secret.

use std::fmt;

use anyhow::{anyhow, bail};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

/// The secret's one use here; another use of the same secret derives another key.
const PURPOSE: &[u8] = b"wasmyard signing keys, AES-256-GCM, 1";

/// Encrypts with AES-256-GCM under a key that is derived from a secret (HKDF, RFC 5869).
///
/// Nonces are random. Two of 96 bits are the same with a chance of one in 2^32 after 2^32
/// encryptions (NIST SP 800-38D, section 8.3); a host makes a few keys a year.
pub struct Seal(LessSafeKey);

impl Seal {
    /// The seal of a secret.
    ///
    /// # Errors
    /// The derivation fails, which it does for no secret.
    pub fn new(secret: &[u8]) -> anyhow::Result<Self> {
        let derived = Salt::new(HKDF_SHA256, &[]).extract(secret);
        let derived =
            derived.expand(&[PURPOSE], &AES_256_GCM).map_err(|_| anyhow!("no key can be derived"))?;
        Ok(Self(LessSafeKey::new(UnboundKey::from(derived))))
    }

    /// Encrypts what stands under `name`: nonce, ciphertext and tag.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn close(&self, name: &str, plain: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut sealed = vec![0; NONCE_LEN];
        getrandom::fill(&mut sealed)?;
        let mut text = plain.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(&sealed).map_err(|_| anyhow!("no nonce"))?;
        let encrypted = self.0.seal_in_place_append_tag(nonce, Aad::from(name), &mut text);
        encrypted.map_err(|_| anyhow!("the key cannot be encrypted"))?;
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Decrypts what was encrypted under the same name.
    ///
    /// # Errors
    /// It was encrypted under another secret or another name, or has been changed.
    pub fn open(&self, name: &str, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        let opened = sealed.split_at_checked(NONCE_LEN).and_then(|(nonce, text)| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = text.to_vec();
            let plain = self.0.open_in_place(nonce, Aad::from(name), &mut text).ok()?.len();
            text.truncate(plain);
            Some(text)
        });
        match opened {
            Some(plain) => Ok(plain),
            None => bail!("it was encrypted under another secret, or has been changed"),
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_own_name_and_secret_alone() {
        let seal = Seal::new(b"one").unwrap();
        let sealed = seal.close("a", b"key").unwrap();
        assert_eq!(seal.open("a", &sealed).unwrap(), b"key");
        assert_ne!(seal.close("a", b"key").unwrap(), sealed, "a nonce is used once");
        assert!(seal.open("b", &sealed).is_err());
        assert!(Seal::new(b"two").unwrap().open("a", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open("a", &changed).is_err(), "byte {at}");
            assert!(seal.open("a", &sealed[..at]).is_err(), "the first {at} bytes");
        }
    }
}
