//! `wasmyard.toml`, parsed once into typed structs before a port binds.
//!
//! Any string may refer to the environment: `${NAME}`, or `${NAME:-default}`. So may
//! a number or a boolean, written as a string: `https_port = "${PORT:-8443}"`. An
//! optional field that comes out empty counts as absent. `$${` is a literal `${`.
//!
//! | key | values | default |
//! | --- | --- | --- |
//! | `server.bind` | an IP address | `127.0.0.1` |
//! | `server.https_port` | 0 (any free one) to 65535 | 8443 |
//! | `server.http_port` | the same, or `false`: none | 8081 |
//! | `server.health_path` | a path | `/api/health` |
//! | `server.docs_path` | a path, or `false`: none | `/api/docs` |
//! | `server.tls.cert`, `.key` | PEM files | self-signed |
//! | `server.trusted_proxies` | networks, as `10.0.0.0/8`; at most 64 | none |
//! | `server.proxy_field` | `"x-forwarded-for"`, `"forwarded"` | `"x-forwarded-for"` |
//! | `server.limits.connections_max` | 1 to 1,000,000 | 10,000 |
//! | `server.limits.header_bytes_max` | 8 KiB to 1 MiB | 32 KiB |
//! | `server.limits.header_fields_max` | 1 to 1,000 | 100 |
//! | `server.limits.request_line_bytes_max` | 64 to 64 KiB | 16 KiB |
//! | `server.limits.*_timeout_ms` | 1 to 3,600,000 | see [`crate::limits`] |
//! | `admin.port` | 0 to 65535 | 9901 |
//! | `postgres.url`, `redis.url` | connection strings | the local form starts its own |
//! | `postgres.migrations` | a folder | none |
//! | `postgres.sample_data` | a file | none |
//! | `auth.key` | a secret of 32 characters or more | the local form makes its own |
//! | `auth.issuer`, `auth.audience` | text | `wasmyard` |
//! | `pages.folder` | a folder | none |
//! | `runtime.instances_max` | 1 to 20,000 | 2,000 |
//! | `runtime.hosts` | 1 to 1,000 | 1 |
//! | `runtime.rate_limit_wait_ms` | 1 to 10,000 | 30 |
//! | `telemetry.endpoint` | a collector's address, `http` or `https` | none: nothing is recorded |
//! | `telemetry.protocol` | `"grpc"`, `"http/protobuf"` | `"grpc"` |
//! | `telemetry.sample_ratio` | 0 to 1, of new traces | 1 |
//! | `telemetry.headers` | fields of each export: `{ x-api-key = "${KEY}" }` | none |
//! | `telemetry.metrics_port` | 0 to 65535, on `server.bind` | none: `/metrics` is the operator's |
//! | `services.NAME` | lower-case letters, digits, hyphens; at most 63 | |
//! | `….component` | a file; it must exist unless there is a `build` | required |
//! | `….build` | program and arguments | none |
//! | `….routes` | `{ path, methods, cache, auth, role, local_auth, rate_limit, events }` each | `path` and `methods` are required |
//! | `….routes.auth` | `"none"`, `"optional"`, `"required"`; or one by method: `{ POST = "required" }` | `"none"` |
//! | `….routes.role` | the role that a known caller must hold | any |
//! | `….routes.local_auth` | `"optional"`: what `auth` requires is optional in the local form, on loopback alone | as `auth` says |
//! | `….routes.events` | `"sse"`, `"websocket"`: the host answers with the service's events | none |
//! | `….events.topic` | lower-case letters, digits, hyphens; at most 63: what the outbox calls them | required |
//! | `….events.key`, `.key_form` | the parameter that narrows them to one key, and `"text"` or `"integer"` | none, `"text"` |
//! | `….events.all` | the role that sees everybody's | nobody does |
//! | `….events.keep` | 1 to 10,000,000, for who comes back | 100,000 |
//! | `….events.origins` | other origins whose pages may ask, as `https://shop.example.com` | none |
//! | `….events.subscribers_max`, `.subscribers_per_client_max` | 1 to 1,000,000, on each host | 5,000 and 32 |
//! | `….rate_limit`, and that of a route | `{ requests, per, burst, strict }`, of a route also `methods` | no limit |
//! | `….rate_limit.requests`, `.per` | 1 and more, with `"1s"` to `"1d"`; at most 100,000 a second | required |
//! | `….rate_limit.burst` | 1 and more; it comes back within 30 days | `requests` |
//! | `….rate_limit.strict` | `true`, `false` | `false` |
//! | `….direct` | `port`, `routes` | none |
//! | `….internal` | `{ path, methods }` each: for other services alone | none |
//! | `….isolation` | `"instance"`, `"request"` | `"instance"` |
//! | `….background` | `{ every }`: the component's background work, from `"1s"` to `"1d"` | none |
//! | `….settings` | names with strings, numbers, booleans | none |
//! | `….grants` | `log`, `config`, `stats`, `auth` = `true`; `postgres = { role, pool_max, statement_timeout_ms }`; `redis = { keys }`; `cache = { keys, near_kib, private }`; `services = []` | nothing |
//! | `….grants.cache.near_kib` | 0 (no near cache) to 1,048,576 | 16,384 |
//! | `….grants.cache.private` | patterns of keys that are never kept near | none |
//! | `….grants.postgres.pool_max` | 1 to 100 | 8 |
//! | `….grants.postgres.statement_timeout_ms` | 1 to 3,600,000 | 4,500, and less than the request's own deadline |
//! | `….limits.memory_mib` | 1 to 256 | 64 |
//! | `….limits.request_timeout_ms` | 1 to 3,600,000 | 5,000 |
//! | `….limits.concurrency_max` | 1 to `runtime.instances_max` | 256, or `instances_max` if less |
//! | `….limits.request_body_bytes_max` | 0 to 64 MiB | 1 MiB |
//! | `….limits.response_body_bytes_max` | 0 to 64 MiB | 8 MiB |
//! | `….limits.call_depth_max` | 0 to 16 | 4 |
//! | `….limits.instance_requests_max` | 1 to 2^53 | 100,000 |
//! | `….limits.instance_memory_mark_mib` | 1 to `memory_mib` | 16, or `memory_mib` if less |

mod auth;
mod backend;
mod background;
mod conflict;
mod events;
mod fault;
mod grant;
mod load;
mod pages;
mod rate_limit;
mod reader;
mod reference;
mod route;
mod runtime;
mod server;
mod service;
mod source;
mod telemetry;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use fault::nearest;
pub use fault::{Fault, ManifestErrors};
pub(crate) use route::parameters;
pub use service::is_service_name;
pub use types::*;
