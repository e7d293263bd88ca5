//! Logs without end.

use wasmyard_guest::log;

use test_components::{Guest, Problem, Request, Response, healthy_but};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            loop {
                log::write(log::Level::Info, "again", &[]);
            }
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
