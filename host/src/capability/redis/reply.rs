//! From the driver's values and errors to the contract's.

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::script::TOO_LARGE;
use super::{Error, Reply};

/// What an error says about the connection it came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Redis answered; the answer was no.
    Keep,
    /// To be probed before the next use.
    Suspect,
}

/// The contract's error, and whether the connection can still be trusted.
pub(super) fn classify(error: &RedisError) -> (Error, Trust) {
    let unavailable = |trust| (Error::Unavailable(error.to_string()), trust);
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::ReadOnly,
        ) => unavailable(Trust::Suspect),
        _ if error.code() == Some("BUSY") => unavailable(Trust::Suspect),
        _ if error.code() == Some(TOO_LARGE) => (Error::TooLarge("the reply".to_owned()), Trust::Keep),
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType | ErrorKind::Client => {
            (Error::Refused(error.to_string()), Trust::Keep)
        }
        _ => unavailable(Trust::Suspect),
    }
}

/// What a script returned, as far as the contract has a word for it.
pub(super) fn of_script(value: Value) -> Result<Reply, Error> {
    Ok(match value {
        Value::Nil => Reply::Nil,
        Value::Int(value) => Reply::Integer(value),
        Value::Array(items) => Reply::Items(items.into_iter().map(item).collect::<Result<_, _>>()?),
        other => Reply::Bytes(bytes(other)?),
    })
}

fn item(value: Value) -> Result<Option<Vec<u8>>, Error> {
    match value {
        Value::Nil => Ok(None),
        Value::Int(value) => Ok(Some(value.to_string().into_bytes())),
        other => bytes(other).map(Some),
    }
}

fn bytes(value: Value) -> Result<Vec<u8>, Error> {
    match value {
        Value::BulkString(value) => Ok(value),
        Value::SimpleString(value) => Ok(value.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        Value::ServerError(error) => Err(Error::Refused(error.details().unwrap_or(error.code()).to_owned())),
        _ => {
            Err(Error::Refused("a script returns nil, an integer, bytes, or a flat array of them".to_owned()))
        }
    }
}
