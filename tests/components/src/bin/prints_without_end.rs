//! Prints without end.

use test_components::{Guest, Problem, Request, Response, healthy_but};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            loop {
                println!("and another thing");
            }
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
