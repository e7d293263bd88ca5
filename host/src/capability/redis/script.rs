//! Lua scripts: their digests, and the fence around a guest's own.

//!
//! A guest's text is sent along each time rather than cached by Redis under a digest
//! of its own: Redis never forgets a script, and a guest that builds scripts from
//! strings would fill its memory. The fence around it is what Redis caches.

use redis::{Script, ScriptInvocation};

/// What a guest's script is run inside of.
///
/// Redis itself lets a script touch any key and block the server with commands of
/// any cost. So the guest's text is compiled separately, behind local names that
/// cover every global with a way out. Its `redis.call` knows which arguments of which
/// commands are keys, and lets only those through that were named in `KEYS`; a command
/// that is not listed here is refused. The libraries it sees are copies, because those
/// of Redis before 7.0 can be written to.
const FENCE: &str = r#"
local granted = {}
for i = 1, #KEYS do granted[KEYS[i]] = true end
local text = ARGV[1]
local limit = tonumber(ARGV[2])
local args = {}
for i = 3, #ARGV do args[i - 2] = ARGV[i] end

local one = ' get set setnx setex psetex getset getdel getex strlen getrange incr incrby incrbyfloat decr decrby'
  .. ' expire pexpire expireat pexpireat persist ttl pttl expiretime pexpiretime type'
  .. ' hget hset hsetnx hmget hmset hdel hexists hgetall hincrby hincrbyfloat hkeys hvals hlen hstrlen'
  .. ' lpush rpush lpushx rpushx lpop rpop llen lrange lindex lset lrem ltrim linsert'
  .. ' sadd srem sismember smismember smembers scard spop srandmember'
  .. ' zadd zrem zscore zmscore zincrby zcard zcount zrange zrangebyscore zrevrange zrevrangebyscore'
  .. ' zrank zrevrank zremrangebyrank zremrangebyscore zpopmin zpopmax '
local every = ' del unlink exists mget '

local function check(name, ...)
  if type(name) ~= 'string' then error('a command is named by a string') end
  local known = ' ' .. string.lower(name) .. ' '
  local arguments = {...}
  local size = 0
  for _, argument in ipairs(arguments) do size = size + #tostring(argument) end
  if size > limit then error('a command over ' .. limit .. ' bytes') end
  if known == ' time ' then return end
  local last
  if string.find(one, known, 1, true) then last = 1
  elseif string.find(every, known, 1, true) then last = #arguments
  else error('the command ' .. name .. ' is not allowed in a script') end
  for i = 1, last do
    local key = arguments[i]
    if type(key) ~= 'string' or not granted[key] then error('a key that is not among KEYS: ' .. tostring(key)) end
  end
end

local call, pcall_ = redis.call, redis.pcall
local error_reply, status_reply = redis.error_reply, redis.status_reply
local function copy(from)
  local to = {}
  for name, value in pairs(from) do to[name] = value end
  return to
end
local fenced = {
  call = function(...) check(...) return call(...) end,
  pcall = function(...) check(...) return pcall_(...) end,
  error_reply = error_reply, status_reply = status_reply,
}
local hidden = '_G, load, loadstring, getmetatable, setmetatable, rawget, rawset, rawequal, xpcall, collectgarbage,'
  .. ' gcinfo, coroutine, struct, cmsgpack, bit, server, newproxy, module, require, dofile, loadfile, print,'
  .. ' getfenv, setfenv, debug, os, io, package, __redis__err__handler'
local names = 'local KEYS, ARGV, redis, string, table, math, cjson, ' .. hidden .. ' = ...; '
local chunk, wrong = loadstring(names .. text, '@script')
if not chunk then return redis.error_reply('ERR ' .. wrong) end
local result = chunk(KEYS, args, fenced, copy(string), copy(table), copy(math), copy(cjson))

local bytes = 0
if type(result) == 'string' then bytes = #result
elseif type(result) == 'table' then
  for _, item in ipairs(result) do if type(item) == 'string' then bytes = bytes + #item end end
end
if bytes > limit then return redis.error_reply('TOOLARGE the reply is over its limit') end
return result
"#;

/// Reads many keys, unless their values together are over the bound.
const MGET: &str = r"
local values = redis.call('MGET', unpack(KEYS))
local bytes = 0
for _, value in ipairs(values) do if value then bytes = bytes + #value end end
if bytes > tonumber(ARGV[1]) then return redis.error_reply('TOOLARGE the reply is over its limit') end
return values
";

/// The error code of the two scripts above when a reply is over its bound.
pub(crate) const TOO_LARGE: &str = "TOOLARGE";

/// The host's own scripts, with their digests computed once.
pub(crate) struct Scripts {
    pub(crate) fence: Script,
    pub(crate) mget: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self { fence: Script::new(FENCE), mget: Script::new(MGET) }
    }
}

/// A script with its keys and arguments.
pub(crate) fn invocation<'a>(
    script: &'a Script,
    keys: impl IntoIterator<Item = &'a str>,
    args: impl IntoIterator<Item = &'a [u8]>,
) -> ScriptInvocation<'a> {
    let mut invocation = script.prepare_invoke();
    for key in keys {
        invocation.key(key);
    }
    for arg in args {
        invocation.arg(arg);
    }
    invocation
}
