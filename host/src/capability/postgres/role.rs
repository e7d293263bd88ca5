//! The passwords of the services' roles.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The password of a role: HMAC-SHA256 (RFC 2104) of its name under the host's
/// secret, in hex. Every host that knows the secret derives the same one, so none is
/// stored.
pub fn role_password(secret: &[u8], role: &str) -> String {
    let mut mac = match Hmac::<Sha256>::new_from_slice(secret) {
        Ok(mac) => mac,
        // HMAC takes keys of any length: longer ones are hashed first.
        Err(_) => unreachable!("HMAC refuses no key"),
    };
    mac.update(role.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_hmac_sha256() {
        // RFC 4231, test case 2.
        assert_eq!(
            role_password(b"Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
