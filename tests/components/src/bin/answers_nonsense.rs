//! Gives answers that are not HTTP; the query says which.

use test_components::{Guest, Problem, Request, Response, healthy_but, ok};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            let plain = ok("nonsense")?;
            Ok(match request.query.as_str() {
                "status" => Response { status: 99, ..plain },
                "header" => plain.with_header("x-split", "a\r\nset-cookie: b=c"),
                "body" => Response { body: vec![b'x'; 9 << 20], ..plain },
                "framing" => plain.with_header("content-length", "3").with_header("connection", "upgrade"),
                _ => plain,
            })
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
