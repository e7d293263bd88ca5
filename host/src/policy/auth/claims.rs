//! What a token says.

use serde::{Deserialize, Deserializer, Serialize};

use super::token::Invalid;
use crate::limits::{ACCESS_TOKEN_LEEWAY, ACCESS_TOKEN_TTL};

/// The claims of RFC 9068, section 2.2, without `client_id`: the host has no clients that
/// are registered. Members that are not known are ignored (RFC 7519, section 4), so that
/// hosts of different ages understand each other; one that stands here twice is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) sub: String,
    /// Seconds since 1970-01-01T00:00:00Z, like the two below; whole ones, as the host
    /// writes them.
    pub(super) exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "number")]
    pub(super) nbf: Option<u64>,
    pub(super) iat: u64,
    pub(super) jti: String,
    pub(super) role: String,
}

/// `null` is no number: a time that is there counts.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    u64::deserialize(deserializer).map(Some)
}

impl Claims {
    /// Whether a token that says this is good at the second `now`, for `audience`, from
    /// `issuer`.
    pub(super) fn check(&self, now: u64, issuer: &str, audience: &str) -> Result<(), Invalid> {
        let leeway = ACCESS_TOKEN_LEEWAY.as_secs();
        let later = now.saturating_add(leeway);
        if self.iss != issuer || self.aud != audience {
            return Err(Invalid::NotForUs);
        }
        if self.sub.is_empty() || self.jti.is_empty() || self.role.is_empty() {
            return Err(Invalid::Malformed);
        }
        // The host issues none that last longer or begin later than they were issued.
        let lifetime = self.exp.checked_sub(self.iat).ok_or(Invalid::Malformed)?;
        if lifetime > ACCESS_TOKEN_TTL.as_secs() {
            return Err(Invalid::Malformed);
        }
        if self.iat > later || self.nbf.is_some_and(|nbf| nbf > later) {
            return Err(Invalid::TooEarly);
        }
        if now >= self.exp.saturating_add(leeway) {
            return Err(Invalid::Expired);
        }
        Ok(())
    }
}
