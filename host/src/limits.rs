//! Every default and every fixed bound of the host, each with its reason.
//!
//! What the manifest may change is named with its key there; the rest is fixed,
//! because a wrong value would break an invariant and not merely a wish.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes in a KiB.
pub const KIB: usize = 1024;
/// Bytes in a MiB.
pub const MIB: usize = 1024 * KIB;

// ---- The server -------------------------------------------------------------

/// `server.https_port`: above 1023, so that no privilege is needed.
pub const HTTPS_PORT: u16 = 8443;
/// `server.http_port`: redirects to HTTPS. Beside 8080, which the orders service
/// has for itself in the shop.
pub const HTTP_PORT: u16 = 8081;
/// `admin.port`: the operator's API, loopback only.
pub const ADMIN_PORT: u16 = 9901;
/// `server.limits.connections_max`: at roughly 20 KiB a TLS connection this is
/// 200 MiB, which the smallest sensible machine has.
pub const CONNECTIONS_MAX: usize = 10_000;
/// `server.limits.header_bytes_max`: four times what browsers send with cookies.
pub const HEADER_BYTES_MAX: usize = 32 * KIB;
/// `server.limits.header_fields_max`: an order of magnitude above real requests;
/// more is an attack on the map that holds them.
pub const HEADER_FIELDS_MAX: usize = 100;
/// `server.limits.request_line_bytes_max`: RFC 9110, section 4.1, asks for at
/// least 8,000 octets, and a search of 1,000 characters has up to 12,000, each of
/// the four bytes of a character being three in a query.
pub const REQUEST_LINE_BYTES_MAX: usize = 16 * KIB;
/// `server.limits.header_timeout_ms`: a slow mobile network needs 2 s; a
/// slow-loris wants for ever.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// `server.limits.body_timeout_ms`: for the whole body, 1 MiB at 35 KiB/s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Request bodies in memory at once, all of them together: 256 of the largest that a
/// service takes unless the manifest says otherwise.
pub const REQUEST_BODIES_BYTES_MAX: usize = 256 * MIB;
/// `server.limits.tls_handshake_timeout_ms`: two round trips and a signature.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// `server.limits.keep_alive_timeout_ms`: longer than the 50 s and less that
/// proxies and browsers keep an idle connection.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(60);
/// `server.limits.write_timeout_ms`: a client that takes no byte for this long is
/// gone, and holds a permit.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// `server.limits.drain_timeout_ms`: a stop waits so long for requests in flight;
/// orchestrators kill after 30 s, so end before that.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// Streams at once on one HTTP/2 connection: hyper's own suggestion, and under
/// the 256 requests that one service takes.
pub const HTTP2_STREAMS_MAX: u32 = 200;
/// How often an HTTP/2 client is asked whether it is still there; half of what
/// carriers' address translation forgets a silent connection after.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
pub const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that the kernel keeps until they are accepted: a burst of 10 ms at
/// 100,000 a second.
pub const ACCEPT_BACKLOG: u32 = 1024;
/// After an accept failed for want of descriptors or memory; doubled each time, up
/// to 16 times as long. Without a pause the loop would spin until one is free.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections over `connections_max` that are told so at once, rather than closed
/// without a word: each costs a task for one round trip.
pub const TURN_AWAY_MAX: usize = 64;
/// After our side of a connection is closed, how long the client may take to close
/// its own; it needs a round trip.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read and thrown away in that time.
pub const LINGER_BYTES_MAX: usize = MIB;
/// In a drain, how long a connection without a request stays open for one that may
/// be on its way: a slow round trip.
pub const DRAIN_GRACE: Duration = Duration::from_millis(200);
/// In a drain, how long a client may take no byte of its answer: one that has stalled is not
/// what the others wait for, nor who stops the host.
pub const DRAIN_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// In a drain, what the operator's port has at least for its last answers, after the
/// public ones took all the time there was: its answers are short.
pub const OPERATOR_DRAIN_MIN: Duration = Duration::from_secs(1);
/// How often the certificate's files are looked at.
pub const CERTIFICATE_POLL: Duration = Duration::from_secs(1);
/// How long a self-signed certificate is valid: under the 398 days that browsers
/// accept.
pub const CERTIFICATE_VALIDITY_DAYS: u32 = 365;
/// A self-signed certificate is made anew so long before it expires.
pub const CERTIFICATE_RENEW_DAYS: u32 = 30;

// ---- A service --------------------------------------------------------------

/// `services.*.limits.memory_mib`: ten times what a service with JSON bodies of
/// 1 MiB was seen to use.
pub const MEMORY_MIB: u32 = 64;
/// The most that `memory_mib` may say; also each slot of the instance allocator.
pub const MEMORY_MIB_CEILING: u32 = 256;
/// `services.*.limits.request_timeout_ms`: longer than any honest request of the
/// shop, shorter than a client's patience.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// `services.*.limits.concurrency_max`: at 5 ms a request, 50,000 requests a
/// second; more waiting work only makes all of it late.
pub const CONCURRENCY_MAX: usize = 256;
/// `services.*.limits.request_body_bytes_max`.
pub const REQUEST_BODY_BYTES_MAX: usize = MIB;
/// `services.*.limits.response_body_bytes_max`: a page of 1,000 products is
/// 300 KiB.
pub const RESPONSE_BODY_BYTES_MAX: usize = 8 * MIB;
/// `services.*.limits.call_depth_max`: the shop needs 2; a loop needs a bound.
pub const CALL_DEPTH_MAX: u8 = 4;
/// `services.*.limits.instance_requests_max`: an instance retires after so many,
/// so that a slow leak in a guest never matters.
pub const INSTANCE_REQUESTS_MAX: u64 = 100_000;
/// `services.*.limits.instance_memory_mark_mib`: an instance whose memory has
/// grown beyond this retires after its request, so that one large request does
/// not stay resident.
pub const INSTANCE_MEMORY_MARK_MIB: u32 = 16;
/// `Retry-After` of an answer 503 when a service is saturated: its queue is its
/// 256 requests, gone in well under a second.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

// ---- Guests -----------------------------------------------------------------

/// `runtime.instances_max`: instances of all services together, warm and busy. Eight
/// services that are full at once, or a thousand with one each and as many to spare.
pub const INSTANCES_MAX: u32 = 2_000;
/// Services that start at once. Each has a thread that loads or compiles and, when it
/// compiles, up to 100 MiB; and each waits for the disk and for its backends, so more than
/// there are cores.
pub const SERVICES_STARTING_MAX: usize = 32;
/// How often the engine's epoch advances: the grain of a deadline for a guest that
/// computes, and how long it may keep a worker thread from other work.
pub const EPOCH_TICK: Duration = Duration::from_millis(5);
/// An instance that has been idle for so long is dropped.
pub const INSTANCE_IDLE_MAX: Duration = Duration::from_secs(30);
/// Log lines of one request, printed ones included.
pub const LOG_LINES_MAX: usize = 1_000;
/// Bytes of those lines.
pub const LOG_BYTES_MAX: usize = 256 * KIB;
/// Log lines of the whole host that may wait to be written: a second's worth at full
/// load.
pub const LOG_LINES_WAITING_MAX: usize = 65_536;
/// And their bytes: 256 for each of them, as the line of a request has.
pub const LOG_BYTES_WAITING_MAX: usize = 16 * MIB;
/// One printed line; a longer one is cut into several. What a guest logs with fields is cut
/// there, message and fields together.
pub const LOG_LINE_BYTES_MAX: usize = 8 * KIB;
/// Wasm stack: deep recursion ends here, well before the host's own stack.
pub const WASM_STACK_BYTES: usize = 512 * KIB;
/// The fiber's stack: the guest's, and as much again for host functions.
pub const FIBER_STACK_BYTES: usize = 2 * MIB;
/// Table elements of one guest: function pointers; a large service has 10,000.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Resources (transactions, fills, WASI streams) that one guest may hold.
pub const GUEST_RESOURCES_MAX: usize = 1_000;
/// Bytes that a guest may hand over in one host call, or as its response: the largest
/// value there is (8 MiB), with room for what surrounds it.
pub const HOSTCALL_BYTES_MAX: usize = 16 * MIB;
/// A component's file.
pub const COMPONENT_BYTES_MAX: usize = 64 * MIB;
/// Components being sent to the operator's API at once, in bytes: two of the largest.
pub const UPLOADS_BYTES_MAX: usize = 2 * COMPONENT_BYTES_MAX;
/// How long the old version may finish its requests after a swap.
pub const VERSION_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a new version may take to answer `/health` before it is refused.
pub const HEALTH_CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long each service may take to answer when all are asked for their health: less
/// than the probes of load balancers wait.
pub const HEALTH_ALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a version may take to describe its API: a hundred times what the shop's take.
pub const DESCRIPTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Until a version that has not described its API is asked again: it may have been the host
/// that was busy. Doubled each time, up to the other: each attempt may cost all of
/// `DESCRIPTION_TIMEOUT`, and whoever reads the documentation waits for it.
pub const DESCRIPTION_PAUSE: Duration = Duration::from_secs(1);
/// That other one.
pub const DESCRIPTION_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A version's description of its API: the largest of the shop's is 30 KiB.
pub const DESCRIPTION_BYTES_MAX: usize = MIB;
/// What is read of a service's own account of its health.
pub const HEALTH_BYTES_MAX: usize = 16 * KIB;
/// Versions of a service whose compiled code is kept for a rollback.
pub const VERSIONS_KEPT: usize = 5;
/// Entries kept in a service's history.
pub const HISTORY_MAX: usize = 1_000;

// ---- Postgres ---------------------------------------------------------------

/// `grants.postgres.pool_max`: three services with eight each stay well below the
/// 100 connections of a Postgres as it comes.
pub const POSTGRES_POOL_MAX: usize = 8;
/// Time to open a connection.
pub const POSTGRES_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time to wait for a free connection of the pool.
pub const POSTGRES_POOL_WAIT: Duration = Duration::from_secs(2);
/// `grants.postgres.statement_timeout_ms`: the server ends a statement itself, a
/// little before the request's own deadline would.
pub const POSTGRES_STATEMENT_TIMEOUT: Duration = Duration::from_millis(4_500);
/// After a connection could not be opened, requests fail at once for so long.
pub const POSTGRES_BREAKER_OPEN: Duration = Duration::from_millis(500);
/// How much longer than the server's statement timeout the host waits: the server's
/// own answer leaves the connection usable.
pub const POSTGRES_STATEMENT_GRACE: Duration = Duration::from_millis(500);
/// Time to wait for a lock that another transaction holds: less than the statement
/// timeout, so that the error says what it was.
pub const POSTGRES_LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// A transaction whose host has gone silent is ended by the server after this.
pub const POSTGRES_IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection idle for longer is asked for a sign of life before it is lent:
/// firewalls forget idle connections after minutes.
pub const POSTGRES_IDLE_CHECK: Duration = Duration::from_secs(30);
/// Time for that sign of life.
pub const POSTGRES_RECYCLE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time to deliver a cancel request for an abandoned statement.
pub const POSTGRES_CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a start waits for a database that does not take connections yet: one that is
/// started at the same moment, and recovers from a crash first, is there by then.
pub const POSTGRES_START_WAIT: Duration = Duration::from_secs(30);
/// Time to wait for another host that is migrating the same database.
pub const POSTGRES_MIGRATION_LOCK_WAIT: Duration = Duration::from_secs(60);
/// Time for all migrations; one that builds an index on a large table takes minutes.
pub const POSTGRES_MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);
/// Rows of one answer.
pub const POSTGRES_ROWS_MAX: usize = 10_000;
/// Bytes of one answer's values.
pub const POSTGRES_RESULT_BYTES_MAX: usize = 8 * MIB;
/// Bytes of one message of the server: a row that fills the answer, and four bytes for
/// each of its columns, of which there are at most 1,664.
pub const POSTGRES_MESSAGE_BYTES_MAX: usize = POSTGRES_RESULT_BYTES_MAX + 64 * KIB;
/// Idle TCP connections are kept alive, and found dead, after this.
pub const POSTGRES_KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Bytes of one statement's text.
pub const POSTGRES_SQL_BYTES_MAX: usize = 64 * KIB;
/// Statements of one batch.
pub const POSTGRES_BATCH_MAX: usize = 64;
/// Prepared statements kept for each connection; a guest that builds its SQL from
/// strings must not fill the server's memory.
pub const POSTGRES_STATEMENTS_KEPT: usize = 256;
/// Transactions open at once in one request.
pub const POSTGRES_TRANSACTIONS_MAX: usize = 4;

// ---- Redis and the cache ----------------------------------------------------

/// Time for one command.
pub const REDIS_COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
/// Time to open a connection.
pub const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest pause between two attempts to reconnect.
pub const REDIS_RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A key, in bytes.
pub const REDIS_KEY_BYTES_MAX: usize = 512;
/// A value, in bytes.
pub const REDIS_VALUE_BYTES_MAX: usize = 8 * MIB;
/// Keys of one `mget`, `del` or `invalidate`.
pub const REDIS_KEYS_MAX: usize = 1_000;
/// Commands that wait to be written to the connection; beyond it the next one waits,
/// within its own timeout.
pub const REDIS_QUEUE_MAX: usize = 1_000;
/// How often an idle connection is asked for a sign of life.
pub const REDIS_PROBE_PERIOD: Duration = Duration::from_secs(2);
/// Bytes of one `mget`'s values or one script's reply together.
pub const REDIS_REPLY_BYTES_MAX: usize = 16 * MIB;
/// The longest time to live: a hundred years, where Redis itself would overflow.
pub const REDIS_TTL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// A script's text.
pub const REDIS_SCRIPT_BYTES_MAX: usize = 64 * KIB;
/// A fill's token in Redis: twice what a request may last by default, so that a slow fill
/// is not refused for its slowness; no longer, because a miss that finds nothing leaves
/// its token behind, and made-up keys must not fill Redis.
pub const CACHE_LEASE_TTL: Duration = Duration::from_secs(10);
/// Keys waiting to be invalidated while Redis is down; beyond this the service's
/// whole key space is invalidated on reconnect.
pub const CACHE_PENDING_MAX: usize = 10_000;
/// Keys that one round trip of a purge looks at; Redis serves others in between.
pub const CACHE_PURGE_BATCH: usize = 500;
/// The longest pause between two attempts to replay invalidations.
pub const CACHE_REPLAY_PAUSE_MAX: Duration = Duration::from_millis(500);
/// How often Redis is asked for a sign of life on the connection of the near cache:
/// twice within the time below, so that one slow answer costs nothing.
pub const NEAR_PROBE_PERIOD: Duration = Duration::from_millis(500);
/// What is near is trusted if Redis has answered a question asked so long ago at most.
/// It is how long another host's write may go unseen when the network fails without a
/// word; shorter, and a busy machine would doubt a healthy connection.
pub const NEAR_TRUST_MAX: Duration = Duration::from_secs(1);
/// Until a Redis that refused client-side caching is asked again: one that has been
/// replaced by a newer one closes its connections, but a proxy may hide that.
pub const NEAR_REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Counters of changed keys, 1 MiB of them: with the 40,000 values that three services
/// keep near by default, a write drops another key's value once in three times.
pub const CHANGE_COUNTERS: usize = 128 * KIB;
/// `grants.cache.near_kib`: a list of 300 KiB and 10,000 items of 500 bytes, in each
/// service that uses so much of it; an unused one takes nothing.
pub const NEAR_KIB: usize = 16 * KIB;
/// What a value takes beside itself and its key: its place in the map, some 250 bytes,
/// and the headers of a rendition.
pub const NEAR_ENTRY_BYTES: usize = KIB;
/// A value that would take more than this part of the bound is not kept near: it would
/// push out too many others.
pub const NEAR_VALUE_SHARE: usize = 8;

// ---- Rate limits -------------------------------------------------------------

/// `runtime.rate_limit_wait_ms`: how long a request waits for Redis to decide on its limit; a hundred times what it takes,
/// and little enough that the host has decided by itself within 50 ms.
pub const RATE_LIMIT_WAIT: Duration = Duration::from_millis(30);
/// While Redis does not answer in time, how often somebody sees whether it does again.
pub const RATE_LIMIT_PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Clients that a host remembers, each with each of its limits: about 30 MiB of them. A host
/// that is asked by more at once asks Redis more often.
pub const RATE_LIMIT_KEYS_MAX: usize = 65_536;
/// Requests that wait for Redis for the same bucket: more than the burst of a limit that is
/// not lent in advance should be. Beyond it they are refused.
pub const RATE_LIMIT_WAITING_MAX: usize = 4_096;
/// What is lent to all hosts together is at most one part in so many of the burst: what other
/// hosts hold and do not use is what a client may lack.
pub const RATE_LIMIT_LEASE_PART: u64 = 4;
/// And no more than comes back in this time, so that what a client lacks is soon there again.
pub const RATE_LIMIT_LEASE_SPAN: Duration = Duration::from_secs(5);

// ---- Pages ------------------------------------------------------------------

/// Files of `pages.folder`, its folders included: far more than a page without a build step
/// has; a folder of dependencies given by mistake is refused.
pub const PAGES_FILES_MAX: usize = 1_000;
/// Bytes of those files, which stay in memory.
pub const PAGES_BYTES_MAX: usize = 32 * MIB;

// ---- Traces ------------------------------------------------------------------

/// Of a `tracestate`: what W3C Trace Context, section 3.3.1.5, asks to be passed along.
pub const TRACESTATE_BYTES_MAX: usize = 512;
/// Members of a `tracestate`: the most that it may have (section 3.3.1.1).
pub const TRACESTATE_MEMBERS_MAX: usize = 32;
/// `telemetry.sample_ratio`: all, since whoever names a collector wants to see something.
pub const SAMPLE_RATIO: f64 = 1.0;
/// Ended spans that wait to be sent: some 10 MiB, and a second of 1,000 recorded requests.
/// Beyond it spans are dropped and counted.
pub const SPANS_WAITING_MAX: usize = 8_192;
/// And their bytes: 2 KiB for each. Spans with much that a guest has given are fewer.
pub const SPANS_WAITING_BYTES_MAX: usize = 16 * MIB;
/// Spans that are sent together: some 500 KiB.
pub const SPANS_BATCH_MAX: usize = 512;
/// And their bytes, but for the last one's: collectors take 4 MiB at once.
pub const SPANS_BATCH_BYTES_MAX: usize = 2 * MIB;
/// Spans of one trace in which nothing has happened yet, and which may not be kept: some ten
/// of an idle turn in the background.
pub const SPANS_HELD_MAX: usize = 64;
/// How long a span waits for others to be sent with it.
pub const SPANS_DELAY: Duration = Duration::from_secs(1);
/// Time to send a batch, attempts after a failure included.
pub const SPANS_EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to reach the collector.
pub const SPANS_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Services whose spans are sent at the same time.
pub const SPANS_EXPORTS_MAX: usize = 8;
/// When the host stops: time to send what has ended. A collector that is away must not keep
/// a host from ending.
pub const SPANS_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Attributes of a span, the guest's and the host's together.
pub const SPAN_ATTRIBUTES_MAX: usize = 32;
/// Events of a span.
pub const SPAN_EVENTS_MAX: usize = 32;
/// Attributes of an event.
pub const SPAN_EVENT_ATTRIBUTES_MAX: usize = 8;
/// A name that a guest gives, in bytes.
pub const SPAN_NAME_BYTES_MAX: usize = 128;
/// A text that a guest gives, and what a client says of itself.
pub const SPAN_TEXT_BYTES_MAX: usize = KIB;
/// All that a guest gives to one span, its attributes and events together: far more than
/// anybody reads.
pub const SPAN_GIVEN_BYTES_MAX: usize = 32 * KIB;
/// A statement's text: more than the longest of the shop's.
pub const SPAN_SQL_BYTES_MAX: usize = 4 * KIB;
/// A statement's summary, as OpenTelemetry bounds it.
pub const SPAN_SUMMARY_BYTES_MAX: usize = 255;

// ---- Events -----------------------------------------------------------------

/// How often the host that fills the streams looks for new rows in the outbox. A `NOTIFY`
/// with each row would be heard sooner, but Postgres commits one transaction at a time that
/// has notified; the look itself takes 0.1 ms, of one host.
pub const OUTBOX_LOOK_PERIOD: Duration = Duration::from_millis(50);
/// Rows that are moved at once: by one script, and Redis serves nobody else meanwhile.
pub const OUTBOX_BATCH: u32 = 256;
/// How often the other hosts see whether the one that fills the streams is still there.
pub const OUTBOX_TAKEOVER_PERIOD: Duration = Duration::from_secs(1);
/// Between two attempts after a failure of Postgres or Redis.
pub const OUTBOX_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How often the rows that wait are counted while they cannot be moved.
pub const OUTBOX_COUNT_PERIOD: Duration = Duration::from_secs(5);
/// A host that is gone without a word loses its place after this: the server asks its
/// connection for a sign of life after a third of it, and then every third.
pub const OUTBOX_SILENCE_MAX: Duration = Duration::from_secs(15);
/// `events.keep`: at 400 bytes an event some 50 MiB of Redis, and a day of one order each
/// second.
pub const EVENTS_KEPT: u64 = 100_000;
/// `events.subscribers_max`: half of the connections that a host takes by default.
pub const SUBSCRIBERS_MAX: usize = 5_000;
/// `events.subscribers_per_client_max`: more tabs than anybody looks at.
pub const SUBSCRIBERS_PER_CLIENT_MAX: usize = 32;
/// Events that wait for one subscriber, whose client has not taken those before them.
pub const SUBSCRIBER_EVENTS_MAX: usize = 256;
/// And their bytes.
pub const SUBSCRIBER_BYTES_MAX: usize = MIB;
/// What the kernel holds for one subscriber (it doubles the figure): left to itself it takes
/// up to 4 MiB from a host for each client that has stalled.
pub const SUBSCRIBER_SEND_BUFFER_BYTES: usize = 32 * KIB;
/// The same for a connection of HTTP/2, on which other answers travel too: at 100 ms to the
/// client and back they still have 5 MB/s.
pub const SUBSCRIBER_SHARED_SEND_BUFFER_BYTES: usize = 256 * KIB;
/// Events that a host reads of a stream at once.
pub const EVENTS_READ_BATCH: usize = 256;
/// Those who read old events at once; the others wait for their turn.
pub const EVENTS_REPLAYS_MAX: usize = 16;
/// How long Redis holds the question for new events open.
pub const EVENTS_READ_WAIT: Duration = Duration::from_secs(2);
/// Between two attempts to read a stream.
pub const EVENTS_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How often a WebSocket is asked for a sign of life, and a comment is sent to who listens
/// otherwise: less than proxies' 30 s. Who has not answered by the next time is gone.
pub const SUBSCRIBER_PING_PERIOD: Duration = Duration::from_secs(20);
/// Frames that a subscriber may send between two of these; it has nothing to say.
pub const SUBSCRIBER_FRAMES_MAX: u32 = 100;
/// A message that a subscriber sends, in bytes: control frames have at most 125 (RFC 6455,
/// section 5.5).
pub const SUBSCRIBER_MESSAGE_BYTES_MAX: usize = 4 * KIB;
/// How long a client may take to read the end of its subscription, and to answer a WebSocket's
/// close: one that has stalled for a moment still hears why. Less than a drain has.
pub const SUBSCRIBER_CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

// ---- The manifest -----------------------------------------------------------

/// A manifest's file: thousands of services fit in; a wrong file given by mistake
/// is refused before it is read.
pub const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
/// `server.docs_path`.
pub const DOCS_PATH: &str = "/api/docs";
/// `server.health_path`.
pub const HEALTH_PATH: &str = "/api/health";
/// Any port; 0 takes a free one.
pub const PORTS: RangeInclusive<u64> = 0..=65_535;
/// Any `*_timeout_ms`: 0 would end everything, and beyond an hour it is none.
pub const TIMEOUTS_MS: RangeInclusive<u64> = 1..=3_600_000;
/// `server.limits.connections_max`: a million sockets are what one address can have.
pub const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
/// `server.limits.header_bytes_max`: hyper's read buffer is at least 8 KiB.
pub const HEADER_BYTES: RangeInclusive<u64> = 8 * 1024..=1024 * 1024;
/// `server.limits.header_fields_max`.
pub const HEADER_FIELDS: RangeInclusive<u64> = 1..=1_000;
/// `server.limits.request_line_bytes_max`: less than 64 has no room for a path.
pub const REQUEST_LINE_BYTES: RangeInclusive<u64> = 64..=64 * 1024;
/// `services.*.limits.memory_mib`, up to the allocator's slots.
pub const MEMORIES_MIB: RangeInclusive<u64> = 1..=MEMORY_MIB_CEILING as u64;
/// `runtime.instances_max`: each takes 4 GiB of address space, memory or not, and a
/// process has 128 TiB of it.
pub const INSTANCES: RangeInclusive<u64> = 1..=20_000;
/// `services.*.limits.*_body_bytes_max`: bodies are whole in memory.
pub const BODY_BYTES: RangeInclusive<u64> = 0..=64 * 1024 * 1024;
/// `services.*.limits.call_depth_max`: each level holds an instance.
pub const CALL_DEPTHS: RangeInclusive<u64> = 0..=16;
/// `services.*.limits.instance_requests_max`: as many as JSON can count exactly.
pub const INSTANCE_REQUESTS: RangeInclusive<u64> = 1..=1 << 53;
/// `grants.postgres.pool_max`: a Postgres as it comes takes 100 connections in all.
pub const POOL_CONNECTIONS: RangeInclusive<u64> = 1..=100;
/// `grants.cache.near_kib`: 0 switches it off; a GiB is more than any service's share
/// of a machine should be.
pub const NEAR_KIBS: RangeInclusive<u64> = 0..=1024 * 1024;

/// `events.keep`.
pub const EVENTS_KEPT_RANGE: RangeInclusive<u64> = 1..=10_000_000;
/// `events.subscribers_max` and `events.subscribers_per_client_max`: sockets of one host.
pub const SUBSCRIBERS_RANGE: RangeInclusive<u64> = 1..=1_000_000;
/// `runtime.hosts`: those that share one Redis.
pub const HOSTS: RangeInclusive<u64> = 1..=1_000;
/// `runtime.rate_limit_wait_ms`. Beyond some seconds most clients have gone.
pub const RATE_LIMIT_WAITS_MS: RangeInclusive<u64> = 1..=10_000;
/// `rate_limit.requests` and `rate_limit.burst`.
pub const RATE_LIMIT_REQUESTS: RangeInclusive<u64> = 1..=1_000_000_000;
/// Microseconds between two tokens: whole ones, and so many that rounding up takes no more
/// than a tenth of the rate.
pub const RATE_LIMIT_INTERVAL_US_MIN: u64 = 10;
/// In which an empty bucket must be whole again: longer, and the figures are a mistake.
pub const RATE_LIMIT_WHOLE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// `rate_limit.per`.
pub const RATE_LIMIT_PER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Networks of `server.trusted_proxies`: each request's peer is compared with all of them.
pub const TRUSTED_PROXIES_MAX: usize = 64;

// ---- The local form's own Postgres and Redis --------------------------------

/// For the state folder's lock: a process that has been forked and not yet replaced
/// by its program still holds what its parent held.
pub const LOCAL_LOCK_WAIT: Duration = Duration::from_millis(500);
/// Making a cluster: 2 s on a laptop, more on a slow disk.
pub const LOCAL_INITDB_WAIT: Duration = Duration::from_secs(60);
/// Until Postgres answers: after a kill it first replays its log.
pub const LOCAL_POSTGRES_READY_WAIT: Duration = Duration::from_secs(60);
/// Until Redis has loaded its data and answers.
pub const LOCAL_REDIS_READY_WAIT: Duration = Duration::from_secs(30);
/// For an orderly stop of either.
pub const LOCAL_STOP_WAIT: Duration = Duration::from_secs(10);
/// For a stop that is not orderly any more.
pub const LOCAL_KILL_WAIT: Duration = Duration::from_secs(5);
/// How much of a backend's log an error shows.
pub const LOCAL_LOG_TAIL_BYTES: usize = 2 * KIB;

// ---- The command line -------------------------------------------------------

/// For a connection to the operator's API, which is on this machine.
pub const ADMIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For the operator's API to say how things are.
pub const ADMIN_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// For a deploy: the compilation of the largest component, and its health check.
pub const ADMIN_DEPLOY_TIMEOUT: Duration = Duration::from_secs(300);
/// An answer of the operator's API: a full history is 300 KiB.
pub const ADMIN_ANSWER_BYTES_MAX: usize = 16 * MIB;

/// Headers of stored answers that one route remembers: some hundred bytes each, so that
/// a route has a MiB of them at most.
pub const STORED_HEADERS_MAX: usize = 1_000;

// ---- Work in the background ---------------------------------------------------

/// How long a host that has died keeps a service's turn to itself. Far longer than a
/// healthy database takes to renew it, and short enough that what a crash has left half
/// done is taken up within seconds.
pub const BACKGROUND_LEASE: Duration = Duration::from_secs(3);
/// How often a lease is renewed while a turn lasts: two attempts may fail.
pub const BACKGROUND_RENEWAL: Duration = Duration::from_millis(800);
/// How often the manifest in force is looked at for services that want turns.
pub const BACKGROUND_LOOK: Duration = Duration::from_millis(500);
/// The pause after a turn could not be taken, because the database is away.
pub const BACKGROUND_RETRY: Duration = Duration::from_secs(1);
/// How often a service is asked how much work of its is parked, for the metrics: an alert
/// comes in a minute, and a turn's statements are not doubled.
pub const BACKGROUND_COUNT_PERIOD: Duration = Duration::from_secs(15);
/// The shortest wait for a turn that another host seems to be giving back this moment.
pub const BACKGROUND_WAIT_MIN: Duration = Duration::from_millis(10);
/// Characters of the name of an event that a service counts by itself.
pub const OWN_EVENT_CHARS_MAX: usize = 40;
/// Such names of one service: each is a time series of the metrics.
pub const OWN_EVENTS_MAX: usize = 32;

// ---- Authentication ---------------------------------------------------------

/// `auth.issuer` and `auth.audience`, unless the manifest names them.
pub const AUTH_NAME: &str = "wasmyard";
/// `auth.key`: 32 hex digits are 128 bits, which nobody tries one by one.
pub const AUTH_KEY_CHARS_MIN: usize = 32;
/// How long an access token is good for. It cannot be taken back, so it is short; a
/// client gets the next one with its refresh token.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(15 * 60);
/// How far the clocks of two hosts may be apart.
pub const ACCESS_TOKEN_LEEWAY: Duration = Duration::from_secs(60);
/// An access token: four times one of the host's own.
pub const ACCESS_TOKEN_BYTES_MAX: usize = 2 * KIB;
/// How often a host asks for keys that another one has made: it signs with an old key no
/// longer than this after a rotation.
pub const SIGNING_KEYS_PERIOD: Duration = Duration::from_secs(5);
/// A token of a key that is not known makes the host look for that key at once, but not
/// more often than this, and whoever comes in between waits for the next look: made-up
/// names of keys must not become load on the database.
pub const SIGNING_KEYS_LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Time to read the keys, or to add one.
pub const SIGNING_KEYS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a token of a key that is not known waits for a look: the pause, and the look.
pub const SIGNING_KEYS_WAIT: Duration = Duration::from_secs(3);
/// Tokens that wait for one look; beyond it the answer is to come back. Far more than a
/// rotation brings at once, and nothing to a host that takes 10,000 connections.
pub const SIGNING_KEYS_WAITING_MAX: usize = 256;
/// Names of former keys that a host remembers, to refuse their tokens without a look: 16
/// rotations in the quarter of an hour that a token lives are no custom.
pub const SIGNING_KEYS_GONE_MAX: usize = 16;
/// How long a key's tokens are taken after another key took its place: until the last of
/// them has expired, on a host that heard late of the rotation and whose clock is slow.
pub const SIGNING_KEY_RETIREMENT: Duration = Duration::from_secs(
    ACCESS_TOKEN_TTL.as_secs() + 2 * ACCESS_TOKEN_LEEWAY.as_secs() + SIGNING_KEYS_PERIOD.as_secs(),
);
/// Memory of one Argon2id hash. With the two below it is what OWASP asks for at least:
/// some 50 ms of one core, in memory that a graphics card has little of for each guess.
pub const PASSWORD_MEMORY_KIB: u32 = 19 * 1024;
/// Passes of Argon2id over its memory.
pub const PASSWORD_PASSES: u32 = 2;
/// Lanes of Argon2id: one thread for one hash.
pub const PASSWORD_LANES: u32 = 1;
/// A password: 128 characters of four bytes each.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// What a stored hash may ask for, in multiples of the three above: hashes of a former or
/// a later setting, and never as much memory as a component likes.
pub const PASSWORD_COST_FACTOR_MAX: u32 = 4;
/// Passwords of logins that wait for a thread; beyond it the answer is that the host is busy.
/// At 50 ms each, the last one has its turn within two and a half seconds, those of the new
/// accounts below included.
pub const PASSWORDS_WAITING_MAX: usize = 32;
/// Passwords of new accounts that wait, in a queue of their own: nobody is shut out by
/// whoever makes account after account.
pub const NEW_PASSWORDS_WAITING_MAX: usize = 16;
/// How long a password may wait and be hashed: where serving leaves those threads little
/// time, the answer is that the host is busy, while the request has time left to say so.
pub const PASSWORD_WAIT: Duration = Duration::from_secs(3);
/// Random bytes of an opaque token: 256 bits.
pub const OPAQUE_TOKEN_BYTES: usize = 32;
