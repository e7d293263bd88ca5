//! The least that a service can do: a constant answer, with no work and no host call.
//! What it costs is what it costs to enter a guest and to leave it.

use wasmyard_guest::{Guest, Problem, Request, Response};

/// A user as the shop writes one, so that the answer has the size of a usual one. The
/// native peer's `/bare` answers with the same bytes.
pub const BODY: &str = concat!(
    r#"{"id":1,"username":"alice","email":"alice@example.com","#,
    r#""created_at":"2026-01-01T00:00:00Z"}"#
);

struct Hello;

wasmyard_guest::export!(Hello);

impl Guest for Hello {
    fn handle(_: &Request) -> Result<Response, Problem> {
        Ok(Response::json_bytes(200, BODY.as_bytes().to_vec()))
    }
}
