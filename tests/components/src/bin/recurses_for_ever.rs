//! Calls itself until the stack ends.

use test_components::{Guest, Problem, Request, Response, healthy_but, ok};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            #[expect(unconditional_recursion, reason = "the point of it")]
            fn deeper(depth: u64) -> u64 {
                let frame = std::hint::black_box([depth; 32]);
                deeper(depth + 1).wrapping_add(frame[0])
            }
            ok(&deeper(0).to_string())
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
