//! What the components that misbehave have in common: they are in good health, and do
//! their worst for any other request.

pub use wasmyard_guest::{Guest, Problem, Request, Response};

/// Runs `misbehave`, unless the host asks for the component's health.
///
/// # Errors
/// What `misbehave` says.
pub fn healthy_but(
    request: &Request,
    misbehave: impl FnOnce() -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    if request.route == "/health" { ok("well") } else { misbehave() }
}

/// An ordinary answer.
///
/// # Errors
/// None in practice: a string is always JSON.
pub fn ok(text: &str) -> Result<Response, Problem> {
    Response::json(200, &text)
}
