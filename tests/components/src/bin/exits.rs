//! Ends its own process, as it thinks.

use test_components::{Guest, Problem, Request, Response, healthy_but};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            std::process::exit(3);
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
