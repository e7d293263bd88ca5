//! The one script: a bucket in Redis, by Redis' own clock.

use redis::Script;

use super::gcra::Rate;
use crate::capability::redis::script::invocation;
use crate::capability::redis::{Error, RedisConnection};

/// What stands before the key of every bucket. No service can be granted it:
/// [`crate::capability::grants::RESERVED`].
pub(super) const KEY_PREFIX: &str = "wasmyard:limit:";

/// Every time is in whole microseconds, below 2^53, which Lua's numbers hold exactly.
///
/// No bucket is emptier than empty, whatever the key says: a limit whose figures have been
/// changed, and a clock that has been set back, shut nobody out for longer than the limit
/// itself would. What was let pass while Redis could not be asked (`debt`) is taken off first,
/// as far as there is something to take it off. Then come the requests that wait, and then
/// what may be lent beyond them: never from the lower half of the bucket. A bucket that will
/// be whole is forgotten at that moment.
const BUCKET: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local asked, spare, debt = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local before = tonumber(redis.call('GET', KEYS[1]) or 0)
local empty = now + burst * interval
local whole = math.min(math.max(before, now), empty)
whole = math.min(whole + debt * interval, empty)
local left = math.floor((empty - whole) / interval)
local given = math.min(asked, left)
local lent = math.max(0, math.min(spare, left - given - math.ceil(burst / 2)))
local first = whole
whole = whole + (given + lent) * interval
if whole ~= before and whole > now then
  redis.call('SET', KEYS[1], string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000))
end
return {given, lent, first - now, whole - now}";

/// The bucket's keeper.
pub(super) struct BucketScript(Script);

/// What is asked of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// Requests that wait.
    pub(super) asked: u64,
    /// How many tokens may be lent beside that.
    pub(super) spare: u64,
    /// Requests that passed unasked.
    pub(super) debt: u64,
}

/// The answer; times count from the moment at which Redis gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    /// Tokens for those who wait.
    pub(super) given: u64,
    /// Tokens beside these.
    pub(super) lent: u64,
    /// Where the place of the first of these tokens begins.
    pub(super) first_in_us: u64,
    /// When the bucket will be whole.
    pub(super) whole_in_us: u64,
}

impl BucketScript {
    pub(super) fn new() -> Self {
        Self(Script::new(BUCKET))
    }

    /// Asks the bucket under `key`.
    pub(super) async fn ask(
        &self,
        redis: &RedisConnection,
        key: &str,
        rate: Rate,
        order: Order,
    ) -> Result<Grant, Error> {
        let args = [rate.interval_us, rate.burst, order.asked, order.spare, order.debt];
        let args = args.map(|number| number.to_string());
        let script = invocation(&self.0, [key], args.iter().map(String::as_bytes));
        let (given, lent, first_in_us, whole_in_us) = redis.invoke(&script).await?;
        Ok(Grant { given, lent, first_in_us, whole_in_us })
    }
}
