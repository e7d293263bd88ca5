//! Behaves: says back what it was given, after as many milliseconds as the query asks.

use std::time::Duration;

use test_components::{Guest, Problem, Request, Response, healthy_but};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            if let Ok(milliseconds) = request.query.parse() {
                std::thread::sleep(Duration::from_millis(milliseconds));
            }
            let mut answer = Response::json_bytes(200, request.body.clone());
            for (name, value) in &request.headers {
                answer.headers.push((format!("echo-{name}"), value.clone()));
            }
            let request_id = &request.request_id;
            Ok(answer.with_header("echo-request-id", request_id).with_header("echo-path", &request.path))
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
