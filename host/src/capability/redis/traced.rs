//! The spans of commands, in the words of OpenTelemetry's conventions for Redis. Neither a
//! key nor a value stands in them: either may be a secret.

use redis::Arg;

use super::Error;
use crate::telemetry::trace::{SpanKind, child_of_current};

/// Sends commands in a span under the one that the task is in, if that is recorded.
pub(super) async fn traced<T>(
    names: impl FnOnce() -> String,
    commands: usize,
    sent: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut span = child_of_current(SpanKind::Client, "redis");
    if !span.is_recorded() {
        return sent.await;
    }
    span.with(|span| {
        let names = names();
        span.set("db.system.name", "redis");
        if commands > 1 {
            span.set("db.operation.batch.size", i64::try_from(commands).unwrap_or(i64::MAX));
        }
        span.set("db.operation.name", if commands > 1 { format!("PIPELINE {names}") } else { names.clone() });
        span.rename(names);
    });
    let done = sent.await;
    span.end_with(|span| match &done {
        Ok(_) => {}
        Err(Error::Unavailable(why)) => span.fail("unavailable", why.clone()),
        Err(Error::Refused(_)) => span.fail("refused", "Redis refused the command"),
        Err(Error::TooLarge(_)) => span.fail("too_large", "the value is larger than one may be"),
        Err(Error::NotGranted(_)) => span.fail("not_granted", "the key is not granted"),
    });
    done
}

/// A command's name, which is its first argument.
pub(super) fn name_of(argument: &Arg<&[u8]>) -> String {
    match argument {
        Arg::Simple(name) => String::from_utf8_lossy(name).into_owned(),
        _ => String::new(),
    }
}
