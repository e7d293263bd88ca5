//! A token's form: the compact serialization of RFC 7515, section 7.1.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::key::SigningKey;
use super::keyring::Keyring;
use crate::limits::ACCESS_TOKEN_BYTES_MAX;

/// RFC 8037, section 3.1.
pub(super) const ALGORITHM: &str = "EdDSA";
/// RFC 9068, section 2.1: no other kind of JWT can pass for an access token.
const TYPE: &str = "at+jwt";

/// Why something is no valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is no token of the form that the host writes.
    #[error("its form is not the host's")]
    Malformed,
    /// No key of the host has its `kid`.
    #[error("no key has its kid")]
    UnknownKey,
    /// The key that has its `kid` is not used any more.
    #[error("its key is not used any more")]
    RetiredKey,
    /// The signature is not that key's.
    #[error("its signature is wrong")]
    BadSignature,
    /// Another issuer or another audience.
    #[error("it is another issuer's, or for another audience")]
    NotForUs,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    TooEarly,
    /// It is not valid any more.
    #[error("it has expired")]
    Expired,
}

/// The members that the host writes. Any other one asks for something that the host does
/// not do: to take a key from the token (`jwk`, `x5c`) or from an address (`jku`, `x5u`),
/// or to understand an extension (`crit`).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A signed token that says this.
pub(super) fn write(key: &SigningKey, claims: &Claims) -> String {
    let header = Header { alg: ALGORITHM.to_owned(), typ: TYPE.to_owned(), kid: key.kid().to_owned() };
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// What a token says, once its signature is known to be that of a key of the ring.
///
/// # Errors
/// [`Invalid`], of which the claims themselves are not the reason yet.
pub(super) fn read(token: &str, keys: &Keyring) -> Result<Claims, Invalid> {
    if token.len() > ACCESS_TOKEN_BYTES_MAX {
        return Err(Invalid::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Invalid::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Invalid::Malformed)?;
    let Header { alg, typ, kid } = json(header)?;
    if alg != ALGORITHM || typ != TYPE {
        return Err(Invalid::Malformed);
    }
    let unknown = || if keys.is_gone(&kid) { Invalid::RetiredKey } else { Invalid::UnknownKey };
    let key = keys.key(&kid).ok_or_else(unknown)?;
    let signature = decode(signature)?;
    if !key.verify(signed.as_bytes(), &signature) {
        return Err(Invalid::BadSignature);
    }
    json(claims)
}

fn part(value: &impl Serialize) -> String {
    // Strings and numbers always make JSON.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

/// An object; serde would take an array of its values too.
fn json<T: DeserializeOwned>(part: &str) -> Result<T, Invalid> {
    let text = decode(part)?;
    if !text.starts_with(b"{") {
        return Err(Invalid::Malformed);
    }
    serde_json::from_slice(&text).map_err(|_| Invalid::Malformed)
}

/// Strict: no padding, no other alphabet, no bits left over, so that one token has one
/// spelling.
fn decode(part: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid::Malformed)
}
