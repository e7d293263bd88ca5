//! The two scripts that fill a stream. Redis runs each as one step, and writes what it has
//! done to its log as one, so a stream never has events that `batch` does not tell of.

/// Takes the stream over. `KEYS`: what is kept beside it. `ARGV`: the fence. Answers with the
/// fence that holds now, which is another one when this one is too old, and with the newest
/// event and the rows that came with the last batch.
pub(super) const CLAIM: &str = r"
local held = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
if tonumber(ARGV[1]) > held then
  redis.call('HSET', KEYS[1], 'fence', ARGV[1])
  held = ARGV[1]
end
return {tostring(held), redis.call('HGET', KEYS[1], 'last') or '0-0', redis.call('HGET', KEYS[1], 'batch') or ''}";

/// Adds events. `KEYS`: the stream, what is kept beside it. `ARGV`: the fence, how many events
/// are kept, the event before, the rows' numbers and times with commas between, and five for each
/// event: subject, whether there is one, key, type, JSON. Answers with the id of the last one,
/// or with nothing if the fence does not hold.
///
/// Ids are given here, by Redis' clock, and never below the event before: that one may be
/// known to Postgres alone, when Redis has lost it.
pub(super) const APPEND: &str = r"
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[1] then return false end
local function numbers(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local before = ARGV[3]
local ms, seq = numbers(before)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if newest then
  local newest_ms, newest_seq = numbers(newest[1])
  if newest_ms > ms or (newest_ms == ms and newest_seq > seq) then ms, seq = newest_ms, newest_seq end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if now > ms then ms, seq = now, -1 end
for at = 5, #ARGV, 5 do
  seq = seq + 1
  local id = string.format('%.0f-%.0f', ms, seq)
  local fields = {'before', before, 'key', ARGV[at + 2], 'type', ARGV[at + 3], 'event', ARGV[at + 4]}
  if ARGV[at + 1] == '1' then
    table.insert(fields, 'subject')
    table.insert(fields, ARGV[at])
  end
  redis.call('XADD', KEYS[1], id, unpack(fields))
  before = id
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[2])
redis.call('HSET', KEYS[2], 'last', before, 'batch', ARGV[4])
return before";
