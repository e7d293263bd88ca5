//! Says that it cannot serve.

use test_components::{Guest, Problem, Request, Response};

struct Component;

impl Guest for Component {
    fn handle(_: &Request) -> Result<Response, Problem> {
        Response::json(503, &"not today")
    }
}

wasmyard_guest::export!(Component);

fn main() {}
