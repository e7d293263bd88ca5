//! The local form's relief from tokens: `local_auth = "optional"` lets whoever sits at
//! this machine try the lab's lines without logging in, and nobody else.

use std::net::{IpAddr, SocketAddr};

use crate::manifest::{AuthLevel, Manifest};

/// A listener that others can reach, and routes that would not ask them who they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the listener `server.https_port` is on {listener}, which others can reach, and these routes take \
     requests without a token in the local form (`local_auth`): {}. Bind it to 127.0.0.1 \
     (`server.bind`, WASMYARD_BIND), or leave `--local` or `local_auth` out",
    routes.join(", ")
)]
pub struct Exposed {
    /// Where HTTPS would be served.
    pub listener: SocketAddr,
    /// The routes with the methods that would be open, as `POST /api/v1/orders`.
    pub routes: Vec<String>,
}

/// Refuses the local form of a manifest whose public listener, at `bind`, is not on
/// loopback while a route has a relief. The services' own ports and the operator's are
/// always on loopback.
///
/// # Errors
/// [`Exposed`], with every such route.
pub fn check_exposure(manifest: &Manifest, bind: IpAddr, local: bool) -> Result<(), Exposed> {
    if !local || bind.is_loopback() {
        return Ok(());
    }
    let routes: Vec<String> = manifest
        .services
        .values()
        .flat_map(|service| &service.routes)
        .filter_map(|route| {
            let relieved = |method: &&String| {
                route.auth.level(method, false) == AuthLevel::Required && route.auth.local_optional
            };
            let methods: Vec<&str> = route.methods.iter().filter(relieved).map(String::as_str).collect();
            (!methods.is_empty()).then(|| format!("{} {}", methods.join(","), route.path))
        })
        .collect();
    if routes.is_empty() {
        return Ok(());
    }
    Err(Exposed { listener: SocketAddr::new(bind, manifest.server.https_port), routes })
}
