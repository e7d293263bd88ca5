//! What a host says of itself when it serves.

use std::net::SocketAddr;

use serde::Serialize;

use super::Host;
use crate::manifest::Manifest;

/// A host that serves.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// Where HTTPS is served.
    pub https: SocketAddr,
    /// Where plain HTTP redirects to HTTPS.
    pub http: Option<SocketAddr>,
    /// Where the operator's API is served.
    pub admin: SocketAddr,
    /// Where the documentation of the API is, as a path there; `None` when it is switched off.
    pub docs_path: Option<String>,
    /// The services in name order.
    pub services: Vec<ReadyService>,
    /// A line to paste that opens the local form's database.
    pub psql: Option<String>,
    /// A line to paste that opens the local form's Redis.
    pub redis_cli: Option<String>,
    /// What is not as it should be and did not stop the start, e.g. a direct port in
    /// use.
    pub warnings: Vec<String>,
}

/// One service of a host that serves.
#[derive(Debug, Clone, Serialize)]
pub struct ReadyService {
    /// Its name in the manifest.
    pub name: String,
    /// The active version's label; `None` when none could be started, which one of
    /// the warnings explains.
    pub version: Option<String>,
    /// The public paths, in the manifest's order.
    pub routes: Vec<String>,
    /// The direct port that is bound.
    pub direct_port: Option<u16>,
}

impl Ready {
    pub(super) fn of(host: &Host, manifest: &Manifest) -> Self {
        let addresses = host.addresses();
        let mut warnings = host.warnings().to_vec();
        let http = addresses.http.as_ref().and_then(|bound| {
            let warn = |error| warnings.push(format!("no redirect from plain HTTP: {error}"));
            bound.as_ref().map_err(warn).ok().copied()
        });
        let services = host.platform().services();
        let services = manifest.services.values().map(|entry| {
            let bound = addresses.direct.get(entry.name.as_str());
            if let Some(Err(error)) = bound {
                warnings.push(format!("{} has no port of its own: {error}", entry.name));
            }
            ReadyService {
                name: entry.name.clone(),
                version: services.get(&entry.name).map(|service| service.version().to_string()),
                routes: entry.routes.iter().map(|route| route.path.clone()).collect(),
                direct_port: bound.and_then(|bound| bound.as_ref().ok()).map(SocketAddr::port),
            }
        });
        let services = services.collect();
        if let Some(redis) = host.redis().filter(|redis| !*redis.watch().borrow()) {
            let _ = redis;
            warnings.push("Redis does not answer: the services read from Postgres until it does".to_owned());
        }
        Self {
            https: addresses.https,
            http,
            admin: addresses.admin,
            docs_path: manifest.server.docs_path.clone(),
            services,
            psql: host.local().psql(),
            redis_cli: host.local().redis_cli(),
            warnings,
        }
    }
}
