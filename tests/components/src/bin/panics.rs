//! Panics.

use test_components::{Guest, Problem, Request, Response, healthy_but};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            panic!("the disk is made of cheese");
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
