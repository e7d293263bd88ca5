//! A password on its way to the host, which hashes it.

use std::fmt;
use std::ops::RangeInclusive;

use utoipa::ToSchema;
use wasmyard_guest::auth::{self, Error};
use wasmyard_guest::{Field, Problem};

/// Characters. Shorter ones are guessed; longer ones are no passwords any more, and each
/// costs time to hash.
const LENGTH: RangeInclusive<usize> = 8..=128;

/// A password, which no log and no answer shows.
#[derive(Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = Password, min_length = 8, max_length = 128, example = "correct horse")]
pub struct Password(String);

impl Password {
    /// Reads the field of a form.
    ///
    /// # Errors
    ///
    /// Says what is wrong, without repeating it.
    pub fn read(field: Field<'_>) -> Result<Self, String> {
        field.secret(LENGTH).map(Self)
    }

    /// Reads the field of a login: one that is too short is not the right one either.
    ///
    /// # Errors
    ///
    /// As [`Password::read`].
    pub(crate) fn read_attempt(field: Field<'_>) -> Result<Self, String> {
        field.secret(1..=*LENGTH.end()).map(Self)
    }

    /// Its hash, to be stored.
    ///
    /// # Errors
    ///
    /// 503 while too many are being hashed.
    pub(crate) fn hash(&self) -> Result<String, Problem> {
        auth::hash_password(&self.0).map_err(|error| problem(&error))
    }

    /// Whether it is the one of this hash. Without one it is not, after the same work.
    ///
    /// # Errors
    ///
    /// As [`Password::hash`].
    pub(crate) fn is(&self, hash: Option<&str>) -> Result<bool, Problem> {
        auth::verify_password(&self.0, hash).map_err(|error| problem(&error))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The answer while too many passwords wait to be hashed.
pub(crate) fn busy(seconds: u64) -> Problem {
    let busy = Problem::unavailable("Too many log in at this moment; try again.", "passwords wait");
    busy.with_header("retry-after", seconds.to_string())
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::Busy(retry_ms) => busy(retry_ms.div_ceil(1_000).max(1)),
        Error::TooLong => Problem::internal("a password that fits the form is too long for the host"),
        Error::BadHash(reason) => Problem::internal(format!("a stored hash cannot be verified: {reason}")),
    }
}
