//! Reads a stream once for all subscribers of this host.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use tokio::time::{sleep, timeout};

use super::hub::Hub;
use super::stream::{self, Stream};
use super::traced::Traced;
use crate::limits::{EVENTS_READ_BATCH, EVENTS_READ_WAIT, EVENTS_RETRY_PAUSE, REDIS_COMMAND_TIMEOUT};

/// Events that are handed on before others of the worker thread have their turn.
const TOLD_AT_ONCE: usize = 16;

/// Reads until it is dropped. A connection that breaks is replaced, and the reading goes on
/// after the last event.
pub(super) async fn read(stream: Arc<Stream>, hub: Arc<Hub>, traced: Option<Traced>) {
    let mut failing = false;
    loop {
        let why = match connect(&stream).await {
            Ok(connection) => follow(&stream, (&hub, traced.as_ref()), connection, &mut failing).await,
            Err(why) => why,
        };
        if !failing {
            tracing::warn!(stream = stream.key(), "events: the stream cannot be read: {why}");
        }
        failing = true;
        sleep(EVENTS_RETRY_PAUSE).await;
    }
}

/// A connection of its own: a question that waits for new events holds up all that come after
/// it.
async fn connect(stream: &Stream) -> Result<MultiplexedConnection, String> {
    if !stream.redis().wait_until_up(EVENTS_READ_WAIT).await {
        return Err("Redis cannot be reached".to_owned());
    }
    stream.redis().another().await.map_err(|error| error.to_string())
}

/// Returns why it cannot go on.
async fn follow(
    stream: &Stream,
    (hub, traced): (&Hub, Option<&Traced>),
    mut connection: MultiplexedConnection,
    failing: &mut bool,
) -> String {
    let last = match stream.last().await {
        Ok(last) => last,
        Err(error) => return format!("{error:?}"),
    };
    let mut position = hub.begin(last);
    const WAIT: Duration = EVENTS_READ_WAIT.saturating_add(REDIS_COMMAND_TIMEOUT);
    loop {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(EVENTS_READ_BATCH).arg("BLOCK").arg(millis(EVENTS_READ_WAIT));
        command.arg("STREAMS").arg(stream.key()).arg(position.to_string());
        let reply = match timeout(WAIT, command.query_async::<Value>(&mut connection)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "Redis does not answer".to_owned(),
        };
        if std::mem::take(failing) {
            tracing::info!(stream = stream.key(), "events: the stream is read again");
        }
        let Some(events) = only_stream(reply).and_then(stream::events) else {
            return "it holds something that the host has not written".to_owned();
        };
        for (count, event) in events.into_iter().enumerate() {
            position = event.id;
            let processing = traced.map(|traced| traced.process(&event)).unwrap_or_default();
            hub.tell(event);
            processing.end();
            if count % TOLD_AT_ONCE == TOLD_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The entries of the one stream in a reply to `XREAD`; nothing when the wait was in vain.
fn only_stream(reply: Value) -> Option<Value> {
    let Value::Array(streams) = reply else { return matches!(reply, Value::Nil).then_some(Value::Nil) };
    let Value::Array(named) = streams.into_iter().next()? else { return None };
    named.into_iter().nth(1)
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
