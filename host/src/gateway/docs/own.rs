//! The endpoints that the host itself answers.
//!
//! Each is described beside the function that answers it, by `#[utoipa::path]`, and listed
//! here. What every answer of the host has, and the errors of requests that are malformed, are
//! added to all of them (`operation.rs`).

use serde_json::{Map, Value};
use utoipa::OpenApi;

use crate::gateway::{docs, health, jwks};
use crate::limits;
use crate::router::Settings;

/// The public listener's.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Wasmyard",
        description = "HEAD is answered wherever GET is, and OPTIONS at every path here; what a path does not answer is \
                       405 with `Allow`. Errors are `application/problem+json` (RFC 9457) with the request's id. \
                       `x-wasmyard-versions` names the versions that serve."
    ),
    paths(health::reply, jwks::reply, docs::document),
    components(schemas(crate::problem::Members<'_>))
)]
struct Public;

/// Those at a service's own port.
#[derive(OpenApi)]
#[openapi(
    info(title = "", description = "A service by itself, at a port of its own."),
    paths(docs::document),
    components(schemas(crate::problem::Members<'_>))
)]
struct Direct;

/// The document of these endpoints alone, at the paths of this manifest.
pub(super) fn document(settings: &Settings, public: bool) -> Map<String, Value> {
    let described = if public { Public::openapi() } else { Direct::openapi() };
    let Ok(Value::Object(mut document)) = serde_json::to_value(described) else { return Map::new() };
    let docs = settings.docs_path.as_deref().unwrap_or(limits::DOCS_PATH);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    if let Some(paths) = paths {
        for (described, actual) in [
            (limits::HEALTH_PATH, settings.health_path.clone()),
            (docs::DOCUMENT_PATH, format!("{docs}/openapi.json")),
        ] {
            if let Some(item) = paths.remove(described) {
                paths.insert(actual, item);
            }
        }
    }
    document
}
