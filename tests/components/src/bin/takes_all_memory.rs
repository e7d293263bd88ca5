//! Allocates until nothing is left, and says after each MiB how many it holds.

use test_components::{Guest, Problem, Request, Response, healthy_but};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1; 1 << 20]));
                println!("{}", hoard.len());
            }
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
