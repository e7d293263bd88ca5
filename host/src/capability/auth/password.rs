//! Argon2id (RFC 9106), in the PHC string format.

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

use super::Error;
use crate::limits::{PASSWORD_COST_FACTOR_MAX, PASSWORD_LANES, PASSWORD_MEMORY_KIB, PASSWORD_PASSES};

/// The blocks that a hash is computed in: kept by a thread from one hash to the next.
pub(super) type Memory = Vec<Block>;

/// Bytes of a salt, as RFC 9106, section 3.1, recommends.
const SALT_BYTES: usize = 16;
/// Bytes of a hash.
const HASH_BYTES: usize = Params::DEFAULT_OUTPUT_LEN;

/// The hash of a password under a fresh salt.
pub(super) fn hash(password: &str, memory: &mut Memory) -> Result<String, Error> {
    let (params, salt) = (params()?, salt()?);
    let hash = compute(password, &salt, &params, memory)?;
    let shown = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: (&params).try_into().map_err(bad)?,
        salt: Some(Salt::new(&salt).map_err(bad)?),
        hash: Some(Output::new(&hash).map_err(bad)?),
    };
    Ok(shown.to_string())
}

/// Whether the password is the one of `stored`. Without one it is not, after the work that
/// a hash of today's cost takes.
pub(super) fn verify(password: &str, stored: Option<&str>, memory: &mut Memory) -> Result<bool, Error> {
    let Some(stored) = stored else {
        compute(password, &salt()?, &params()?, memory)?;
        return Ok(false);
    };
    let stored = PasswordHash::new(stored).map_err(bad)?;
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
        return Err(Error::BadHash("it has no salt or no hash".to_owned()));
    };
    if stored.algorithm != Algorithm::Argon2id.ident() || stored.version != Some(Version::V0x13.into()) {
        return Err(Error::BadHash("it is not of Argon2id, version 19".to_owned()));
    }
    let params = Params::try_from(&stored).map_err(bad)?;
    let dear = params.m_cost() > PASSWORD_MEMORY_KIB * PASSWORD_COST_FACTOR_MAX
        || params.t_cost() > PASSWORD_PASSES * PASSWORD_COST_FACTOR_MAX
        || params.p_cost() > PASSWORD_LANES * PASSWORD_COST_FACTOR_MAX;
    if dear || expected.len() != HASH_BYTES {
        return Err(Error::BadHash("its cost or its length is out of bounds".to_owned()));
    }
    let found = compute(password, salt, &params, memory)?;
    Ok(found.as_slice().ct_eq(expected.as_bytes()).into())
}

fn compute(
    password: &str,
    salt: &[u8],
    params: &Params,
    memory: &mut Memory,
) -> Result<[u8; HASH_BYTES], Error> {
    let mut hash = [0; HASH_BYTES];
    memory.resize(params.block_count(), Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    argon2
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut hash, memory.as_mut_slice())
        .map_err(bad)?;
    Ok(hash)
}

fn params() -> Result<Params, Error> {
    Params::new(PASSWORD_MEMORY_KIB, PASSWORD_PASSES, PASSWORD_LANES, Some(HASH_BYTES)).map_err(bad)
}

fn salt() -> Result<[u8; SALT_BYTES], Error> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(bad)?;
    Ok(salt)
}

fn bad(error: impl std::fmt::Display) -> Error {
    Error::BadHash(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_verified_and_every_other_one_refused() {
        let mut memory = Memory::new();
        let stored = hash("correct horse", &mut memory).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(memory.len() * Block::SIZE, 19 * 1024 * 1024);
        assert_ne!(hash("correct horse", &mut memory).unwrap(), stored, "a salt is used once");
        assert!(verify("correct horse", Some(&stored), &mut memory).unwrap());
        for other in ["correct hors", "correct horse ", "Correct horse", ""] {
            assert!(!verify(other, Some(&stored), &mut memory).unwrap(), "{other:?}");
        }
    }

    #[test]
    fn without_a_hash_the_same_work_is_done() {
        let mut memory = Memory::new();
        assert!(!verify("correct horse", None, &mut memory).unwrap());
        assert_eq!(memory.len() * Block::SIZE, 19 * 1024 * 1024);
    }

    #[test]
    fn a_hash_of_another_form_or_without_measure_is_refused() {
        let tail = "$c29tZXNhbHRzb21lc2FsdA$Q4ZEvULyXhbCUjWgnIgLCjyJEAQSUyqhLvBL3YrMoDg";
        for (stored, fits) in [
            (format!("$argon2id$v=19$m=19456,t=2,p=1{tail}"), true),
            (format!("$argon2id$v=19$m=8192,t=1,p=1{tail}"), true),
            (format!("$argon2i$v=19$m=19456,t=2,p=1{tail}"), false),
            (format!("$argon2id$v=16$m=19456,t=2,p=1{tail}"), false),
            (format!("$argon2id$v=19$m=4194304,t=2,p=1{tail}"), false),
            (format!("$argon2id$v=19$m=19456,t=100000,p=1{tail}"), false),
            (format!("$argon2id$v=19$m=19456,t=2,p=16{tail}"), false),
            ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned(), false),
            ("plain".to_owned(), false),
            (String::new(), false),
        ] {
            let verified = verify("password", Some(&stored), &mut Memory::new());
            assert_eq!(verified.is_ok(), fits, "{stored}: {verified:?}");
            assert!(!matches!(verified, Ok(true)));
        }
    }
}
