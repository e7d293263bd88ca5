//! Who is calling: access tokens, verified before a guest is entered.
//!
//! A token is a JWT (RFC 7519) of the profile for access tokens (RFC 9068), signed with
//! Ed25519 (RFC 8037). The host is the only one to issue them and the only one to verify
//! them, so nothing is taken that the host itself would not have written:
//!
//! - The key is chosen by `kid` among the host's own keys, and each of those has one
//!   algorithm. What a header says of algorithms, keys or addresses of keys chooses
//!   nothing: `alg` must be the key's, and a member that the host does not write itself
//!   (`jwk`, `jku`, `x5u`, `crit`) makes the token invalid.
//! - `iss`, `aud`, `typ`, `sub`, `jti`, `role`, `iat` and `exp` must be there, each once
//!   and of its type. `nbf` is optional (RFC 7519, section 4.1.5) and the host writes none;
//!   one that is there must be a number and past. Clocks may be [`limits::ACCESS_TOKEN_LEEWAY`] apart.
//! - The signature is checked over the bytes as they came, in strict base64url.
//!
//! Rate limits count whoever sends tokens that are not valid, and bound all that comes after
//! this check, but not the check itself: who is known is counted by name, so it comes first.
//!
//! That is less than a general JWT library does, and each rule it would have to be told
//! not to apply is one that cannot be forgotten here; the cryptography is `ring`'s.
//!
//! | file | what |
//! | --- | --- |
//! | `access` | what a route wants of its callers, and whether one may pass |
//! | `bearer` | the token in a header |
//! | `token`, `claims` | a token's form, and what it says |
//! | `key`, `keyring` | one signing key, and those that are in use |
//! | `seal`, `store` | keys encrypted, and kept in Postgres for all hosts |
//! | `shared_keys` | those in use on this host, and how it hears of new ones |
//! | `authority` | all of it together: issue, verify, rotate |
//! | `exposure` | the local form's relief from tokens, never on a public address |
//!
//! [`limits::ACCESS_TOKEN_LEEWAY`]: crate::limits::ACCESS_TOKEN_LEEWAY

mod access;
mod authority;
mod bearer;
mod claims;
mod exposure;
mod key;
mod keyring;
mod seal;
mod shared_keys;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod token;

pub use access::{Access, Denied};
pub use authority::{AccessToken, Authority};
pub use exposure::{Exposed, check_exposure};
pub use key::SigningKey;
pub(crate) use keyring::Jwks;
pub use keyring::{KeyState, Keyring};
pub use seal::Seal;
pub use store::{Adding, KeyStore, PostgresKeys, StoredKey};
pub use token::Invalid;

/// Where the public keys are found (RFC 8615; the name is OpenID Connect's usual one).
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
