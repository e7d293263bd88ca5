//! The manifest after parsing: every reference resolved, every default filled in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// A whole `wasmyard.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The file it was read from.
    pub path: PathBuf,
    /// The folder that its relative paths start from.
    pub dir: PathBuf,
    /// The public listeners.
    pub server: Server,
    /// The operator's API.
    pub admin: Admin,
    /// The database that the services' roles connect to.
    pub postgres: Postgres,
    /// The Redis that the services share.
    pub redis: Redis,
    /// How callers prove who they are.
    pub auth: Auth,
    /// `pages.folder`: files that the public listener serves as they are, from `/` on.
    pub pages: Option<PathBuf>,
    /// The engine that all services run in.
    pub runtime: Runtime,
    /// Where traces go.
    pub telemetry: Telemetry,
    /// The services by name, in name order.
    pub services: BTreeMap<String, Service>,
}

/// `[server]`: the public listeners.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The address that both listeners bind.
    pub bind: IpAddr,
    /// TCP port of HTTPS; 0 takes any free one.
    pub https_port: u16,
    /// TCP port that redirects to HTTPS; `None` switches it off.
    pub http_port: Option<u16>,
    /// The certificate; `None` means self-signed, made on first start.
    pub tls: Option<Tls>,
    /// The path of the health of all services together.
    pub health_path: String,
    /// The path of the documentation of the API; `None` switches it off.
    pub docs_path: Option<String>,
    /// Bounds on connections and requests.
    pub limits: ServerLimits,
    /// Whose word counts on where a request comes from.
    pub proxies: Proxies,
}

/// `server.trusted_proxies` and `server.proxy_field`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// Their networks. Nobody else is believed.
    pub networks: Vec<IpNet>,
    /// Where they say it.
    pub field: ProxyField,
}

/// The one field that the trusted proxies write. Another one that says the same may come from
/// the client, since proxies pass on what they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyField {
    /// `X-Forwarded-For`, which nearly every proxy writes.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `[server.tls]`: PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `[server.limits]`; the defaults and their reasons are in [`crate::limits`].
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each field is the constant of its name in `limits`")]
pub struct ServerLimits {
    pub connections_max: usize,
    pub header_bytes_max: usize,
    pub header_fields_max: usize,
    pub request_line_bytes_max: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub tls_handshake_timeout: Duration,
    pub keep_alive_timeout: Duration,
    pub write_timeout: Duration,
    pub drain_timeout: Duration,
}

/// `[admin]`: always on loopback.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// TCP port; 0 takes any free one.
    pub port: u16,
}

/// `[postgres]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Postgres {
    /// The owner's connection string. `None`: the local form starts one.
    pub url: Option<String>,
    /// The folder of `V1__name.sql` files.
    pub migrations: Option<PathBuf>,
    /// SQL run after the migrations in the local form; it must do nothing when the
    /// tables already hold rows.
    pub sample_data: Option<PathBuf>,
}

/// `[redis]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Redis {
    /// The connection string. `None`: the local form starts one.
    pub url: Option<String>,
}

/// `[auth]`: access tokens, and the keys that sign them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The secret under which the signing keys are encrypted. `None`: the local form makes
    /// one and keeps it in its state folder.
    pub key: Option<String>,
    /// `iss` of a token: who issues it. A token of another one is refused.
    pub issuer: String,
    /// `aud` of a token: for whom it is meant. A token for another one is refused.
    pub audience: String,
}

/// `[runtime]`: the engine that all services run in.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// Instances of all services together, warm and busy. Beyond it a request is answered
    /// with 503.
    pub instances_max: u32,
    /// Hosts that share one Redis, this one included: what each may let pass by itself when
    /// Redis is away.
    pub hosts: u32,
    /// How long a request waits for Redis to decide on its rate limit, before this host
    /// decides by itself.
    pub rate_limit_wait: Duration,
}

/// `[telemetry]`: where traces go, and how many of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// The collector's address. `None`: nothing is recorded.
    pub endpoint: Option<String>,
    /// How it is spoken to.
    pub protocol: OtlpProtocol,
    /// The part of new traces that is recorded, from 0 to 1. What a client has begun is
    /// recorded if the client's part is.
    pub sample_ratio: f64,
    /// Whether a client's word on that counts. Without it a client's trace is continued all the
    /// same, and recorded by the ratio.
    pub trust_clients: bool,
    /// Fields of each export, in lower case; credentials, for the most part.
    pub headers: BTreeMap<String, String>,
    /// TCP port on `server.bind` for the metrics alone; 0 takes any free one. `None`: only
    /// the operator's API has them.
    pub metrics_port: Option<u16>,
}

/// `telemetry.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    #[default]
    Grpc,
    /// OTLP over HTTP, in protobuf.
    HttpProtobuf,
}

/// `[services.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its name: lower-case letters, digits and hyphens.
    pub name: String,
    /// The component file.
    pub component: PathBuf,
    /// The command that makes that file: program and arguments, run in the
    /// manifest's folder. `None`: it is made elsewhere.
    pub build: Option<Vec<String>>,
    /// Public routes.
    pub routes: Vec<Route>,
    /// A plain HTTP port on loopback for this service alone, in the local form.
    pub direct: Option<Direct>,
    /// Routes that other services call, and that no port reaches.
    pub internal: Vec<Route>,
    /// What it may import.
    pub grants: Grants,
    /// Its bounds.
    pub limits: ServiceLimits,
    /// How many requests of one client it takes, where a route has no limit of its own.
    /// `None`: any number.
    pub rate_limit: Option<RateLimit>,
    /// What it tells the world of its changes. `None`: nothing.
    pub events: Option<Events>,
    /// How often it has a turn of its own, which no request waits for. `None`: never.
    pub background: Option<Background>,
    /// Whether instances are reused.
    pub isolation: Isolation,
    /// Its settings, read through the `config` interface.
    pub settings: BTreeMap<String, String>,
}

/// A path template and the methods it answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Route {
    /// `/api/v1/users/{id}`: `{name}` stands for one segment.
    pub path: String,
    /// Upper case, in the order written. HEAD comes with GET, OPTIONS with all.
    pub methods: Vec<String>,
    /// The cache key of what a GET without a query answers, with the path's parameters
    /// in it: `users:{id}`. The host then looks there before it enters the guest.
    pub cache: Option<String>,
    /// Who may ask.
    pub auth: RouteAuth,
    /// How many requests of one client it takes, in place of the service's limit.
    pub rate_limit: Option<RateLimit>,
    /// The host answers it with the service's events, and no guest is asked.
    pub events: Option<EventForm>,
}

/// How events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventForm {
    /// Server-sent events: an answer that does not end.
    Sse,
    /// A WebSocket (RFC 6455).
    WebSocket,
}

/// `[services.NAME.events]`: what is told of the service's rows in the outbox, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The rows' `topic`.
    pub topic: String,
    /// The query parameter that narrows to the events of one `key`.
    pub key: Option<String>,
    /// What that parameter must be.
    pub key_form: KeyForm,
    /// The role that sees the events of every subject.
    pub all: Option<String>,
    /// How many events are kept for those who come back.
    pub keep: u64,
    /// Origins whose pages may subscribe, beside the host's own.
    pub origins: Vec<String>,
    /// Subscribers of one host.
    pub subscribers_max: usize,
    /// Subscribers of one client on one host.
    pub subscribers_per_client_max: usize,
}

/// What the key of an event must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Letters, digits, `_` and `-`.
    Text,
    /// A positive integer.
    Integer,
}

/// `rate_limit = { … }`, for each client by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in each period, in the long run.
    pub requests: u64,
    /// That period.
    pub per: Duration,
    /// Requests at once.
    pub burst: u64,
    /// Each request is decided by Redis, or by less than this host's share; nothing is lent.
    pub strict: bool,
    /// The methods of the route that it is for. Empty: all of them.
    pub methods: Vec<String>,
}

/// `background = { … }`: a turn for the work that no request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Background {
    /// From the end of one turn to the next one, on whichever host.
    pub every: Duration,
}

/// Who may ask for a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteAuth {
    /// Whether a caller must prove who they are, by method; a method that is not here has
    /// [`AuthLevel::None`].
    pub levels: BTreeMap<String, AuthLevel>,
    /// The role that a caller who is known must hold.
    pub role: Option<String>,
    /// `local_auth = "optional"`: in the local form, what is required is only optional.
    pub local_optional: bool,
}

impl RouteAuth {
    /// What holds for a method, in the local form or elsewhere.
    pub fn level(&self, method: &str, local: bool) -> AuthLevel {
        match self.levels.get(method).copied().unwrap_or_default() {
            AuthLevel::Required if local && self.local_optional => AuthLevel::Optional,
            level => level,
        }
    }

    /// Whether somebody's identity has a part in any of the route's answers.
    pub fn asks(&self) -> bool {
        self.levels.values().any(|level| *level != AuthLevel::None)
    }
}

/// Whether a caller must prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthLevel {
    /// Nobody is asked, and a token is not looked at.
    #[default]
    None,
    /// A token that is there must be valid; without one the caller is nobody.
    Optional,
    /// A valid token must be there.
    Required,
}

/// `[services.NAME.direct]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Direct {
    /// TCP port on loopback.
    pub port: u16,
    /// Routes there beside the public ones.
    pub routes: Vec<Route>,
}

/// `[services.NAME.grants]`: nothing is granted that is not here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grants {
    /// `log = true`
    pub log: bool,
    /// `config = true`
    pub config: bool,
    /// `stats = true`
    pub stats: bool,
    /// `auth = true`: it may hash passwords and issue access tokens, in anybody's name.
    pub auth: bool,
    /// `postgres = { role = "…" }`
    pub postgres: Option<PostgresGrant>,
    /// `redis = { keys = ["…"] }`: patterns of keys, `*` for any rest.
    pub redis: Option<KeysGrant>,
    /// `cache = { keys = ["…"] }`
    pub cache: Option<CacheGrant>,
    /// `services = ["…"]`: the services it may call.
    pub services: Vec<String>,
    /// `headers = ["…"]`: the only header fields of a request that it is shown, in lower
    /// case. `None`: all but the connection's own and `authorization`, which is shown only
    /// to a service that names it here, and on no route whose caller the host verifies.
    pub headers: Option<Vec<String>>,
}

/// A database role of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresGrant {
    /// The role that the service logs in as.
    pub role: String,
    /// Connections of its pool.
    pub pool_max: usize,
    /// Statements are ended by the server after this.
    pub statement_timeout: Duration,
}

/// Keys that a service may touch.
#[derive(Debug, Clone, PartialEq)]
pub struct KeysGrant {
    /// Exact keys, or a prefix followed by `*`.
    pub keys: Vec<String>,
}

/// Keys that a service may cache, and what of them is kept in the host's memory.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheGrant {
    /// Exact keys, or a prefix followed by `*`.
    pub keys: Vec<String>,
    /// The bound of the near cache in KiB; 0 switches it off.
    pub near_kib: usize,
    /// Patterns, as `keys` has them, of those that are never kept near.
    pub private: Vec<String>,
}

impl CacheGrant {
    /// These keys, and the defaults for the rest.
    pub fn new(keys: Vec<String>) -> Self {
        Self { keys, near_kib: crate::limits::NEAR_KIB, private: Vec::new() }
    }
}

/// `[services.NAME.limits]`; the defaults and their reasons are in
/// [`crate::limits`].
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each field is the constant of its name in `limits`")]
pub struct ServiceLimits {
    pub memory_mib: u32,
    pub request_timeout: Duration,
    pub concurrency_max: usize,
    pub request_body_bytes_max: usize,
    pub response_body_bytes_max: usize,
    pub call_depth_max: u8,
    pub instance_requests_max: u64,
    pub instance_memory_mark_mib: u32,
}

/// Whether an instance outlives its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Warm instances, one request at a time.
    #[default]
    Instance,
    /// A fresh instance for every request.
    Request,
}
