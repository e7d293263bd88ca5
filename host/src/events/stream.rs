//! A topic's stream in Redis.

use std::sync::Arc;

use bytes::Bytes;
use redis::{Script, Value, cmd};

use super::event::{Cursor, Event};
use super::outbox::{Row, RowId};
use super::script::{APPEND, CLAIM};
use crate::capability::grants::RESERVED;
use crate::capability::redis::script::invocation;
use crate::capability::redis::{Error, RedisConnection};

/// A stream, read and filled over the shared connection.
pub(super) struct Stream {
    redis: Arc<RedisConnection>,
    key: String,
    /// What is kept beside the events, in a hash.
    beside: String,
    claim: Script,
    append: Script,
}

/// How a stream was left by whoever filled it last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// The fence that holds now.
    pub(super) fence: i64,
    /// The newest event.
    pub(super) last: Cursor,
    /// The rows that came with the last batch.
    pub(super) batch: Vec<RowId>,
}

impl Stream {
    pub(super) fn new(redis: Arc<RedisConnection>, topic: &str) -> Self {
        // Braces, so that a cluster keeps both keys on one node.
        let key = format!("{RESERVED}events:{{{topic}}}");
        let beside = format!("{key}:relay");
        Self { redis, key, beside, claim: Script::new(CLAIM), append: Script::new(APPEND) }
    }

    pub(super) fn redis(&self) -> &Arc<RedisConnection> {
        &self.redis
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Takes the right to fill it, unless somebody had a higher fence.
    pub(super) async fn claim(&self, fence: i64) -> Result<Left, Error> {
        let fence = fence.to_string();
        let script = invocation(&self.claim, [self.beside.as_str()], [fence.as_bytes()]);
        let (fence, last, batch): (String, String, String) = self.redis.invoke(&script).await?;
        Ok(Left {
            fence: fence.parse().map_err(|_| strange())?,
            last: last.parse().map_err(|_| strange())?,
            batch: batch.split(',').filter_map(row_id).collect(),
        })
    }

    /// Adds the rows after the event `before`. `None` when the fence does not hold any more.
    pub(super) async fn append(
        &self,
        fence: i64,
        keep: u64,
        before: Cursor,
        rows: &[Row],
    ) -> Result<Option<Cursor>, Error> {
        let numbers: Vec<String> = rows.iter().map(row_text).collect();
        let head = [fence.to_string(), keep.to_string(), before.to_string(), numbers.join(",")];
        let told: Vec<String> = rows.iter().map(Row::told).collect();
        let rows = rows.iter().zip(&told).flat_map(|(row, told)| {
            let there: &[u8] = if row.subject.is_some() { b"1" } else { b"0" };
            let subject = row.subject.as_deref().unwrap_or_default().as_bytes();
            [subject, there, row.key.as_bytes(), row.kind.as_bytes(), told.as_bytes()]
        });
        let args = head.iter().map(String::as_bytes).chain(rows);
        let script = invocation(&self.append, [self.key.as_str(), self.beside.as_str()], args);
        let last: Option<String> = self.redis.invoke(&script).await?;
        last.map(|last| last.parse().map_err(|_| strange())).transpose()
    }

    /// At most so many of the events after a place.
    pub(super) async fn after(&self, cursor: Cursor, count: usize) -> Result<Vec<Event>, Error> {
        let mut command = cmd("XRANGE");
        command.arg(&self.key).arg(format!("({cursor}")).arg("+").arg("COUNT").arg(count);
        events(self.redis.command(&command).await?).ok_or_else(strange)
    }

    /// The newest event's place; the start's, when there is none.
    pub(super) async fn last(&self) -> Result<Cursor, Error> {
        let mut command = cmd("XREVRANGE");
        command.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let newest = events(self.redis.command(&command).await?).ok_or_else(strange)?;
        Ok(newest.first().map_or(Cursor::START, |event| event.id))
    }
}

/// The events of a reply to `XRANGE`; `None` if it is none.
pub(super) fn events(reply: Value) -> Option<Vec<Event>> {
    match reply {
        Value::Nil => Some(Vec::new()),
        Value::Array(entries) => entries.into_iter().map(event).collect(),
        _ => None,
    }
}

fn event(entry: Value) -> Option<Event> {
    let Value::Array(entry) = entry else { return None };
    let [id, Value::Array(fields)] = <[Value; 2]>::try_from(entry).ok()? else { return None };
    let id: Cursor = text(id)?.parse().ok()?;
    let (mut before, mut key, mut kind, mut subject, mut body) = (None, None, None, None, None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let value = text(value)?;
        match text(name)?.as_str() {
            "before" => before = Some(value.parse().ok()?),
            "key" => key = Some(value.into()),
            "type" => kind = Some(value.into()),
            "subject" => subject = Some(value.into()),
            "event" => body = Some(value),
            _ => {}
        }
    }
    // The id is Redis' to give, so it is the first member, put before all others.
    let json = format!(r#"{{"id":"{id}",{}"#, body?.strip_prefix('{')?);
    Some(Event { id, before: before?, subject, key: key?, kind: kind?, json: Bytes::from(json) })
}

/// A row's number and its time, with a colon between.
fn row_text(row: &Row) -> String {
    format!("{}:{}", row.number, row.occurred_us)
}

/// The same, read.
fn row_id(text: &str) -> Option<RowId> {
    let (number, occurred_us) = text.split_once(':')?;
    Some(RowId { number: number.parse().ok()?, occurred_us: occurred_us.parse().ok()? })
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn strange() -> Error {
    Error::Refused("the stream of events holds something that the host has not written".to_owned())
}
