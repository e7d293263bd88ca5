//! Never returns, and waits in the host all the time.

use test_components::{Guest, Problem, Request, Response, healthy_but};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            loop {
                std::thread::sleep(std::time::Duration::from_secs(3600));
            }
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
