//! The public keys, for others who want to verify the host's tokens themselves.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method};

use crate::gateway::docs;
use crate::policy::auth::{Authority, JWKS_PATH, Jwks};
use crate::problem::{Members, Problem};
use crate::runtime::{RequestId, Response};

/// Shows the public keys of access tokens (RFC 7517).
#[utoipa::path(get, path = JWKS_PATH, operation_id = "keys", responses(
    (status = 200, description = "The keys, old ones among them while tokens of theirs are good.", body = Jwks,
        content_type = "application/jwk-set+json"),
    (status = 404, description = "The host has no keys, because nothing needs any.", body = Members<'_>,
        content_type = "application/problem+json", example = json!({
            "type": "urn:wasmyard:problem:not-found", "title": "Nothing here", "status": 404,
            "detail": "No route has this path.", "instance": JWKS_PATH, "request_id": docs::EXAMPLE_ID,
        })),
))]
pub(super) fn reply(authority: Option<&Authority>, method: &Method, id: &RequestId) -> Response {
    let Some(authority) = authority else { return Problem::not_found().response(id, JWKS_PATH) };
    if let Some(response) = super::other_method(method, JWKS_PATH, id) {
        return response;
    }
    let mut response = Response { body: authority.keys().jwks().clone(), ..Response::default() };
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    // A verifier that meets a new key should look again, and not often otherwise.
    response.headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    response
}
