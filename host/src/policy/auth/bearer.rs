//! The token in a request's header.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::token::Invalid;

/// The scheme and the space after it.
const SCHEME: &[u8] = b"bearer ";

/// The token of `Authorization: Bearer …` (RFC 6750, section 2.1); `None` when there is no
/// such field. The other two places of that RFC, the body and the query, end up in logs
/// and histories, and are not looked at.
///
/// # Errors
/// [`Invalid::Malformed`] for another scheme, or for more than one field: whichever of
/// them somebody before this host has looked at, it must be the one that counts.
pub(super) fn token(headers: &HeaderMap) -> Result<Option<&str>, Invalid> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(Invalid::Malformed);
    }
    let (scheme, token) = field.as_bytes().split_at_checked(SCHEME.len()).ok_or(Invalid::Malformed)?;
    // The scheme's case does not matter (RFC 9110, section 11.1).
    match scheme.eq_ignore_ascii_case(SCHEME) {
        true => str::from_utf8(token.trim_ascii()).map(Some).map_err(|_| Invalid::Malformed),
        false => Err(Invalid::Malformed),
    }
}
