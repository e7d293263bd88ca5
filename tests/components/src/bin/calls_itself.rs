//! Calls itself through the host, for ever.

use wasmyard_guest::services;

use test_components::{Guest, Problem, Request, Response, healthy_but, ok};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            let call = services::CallRequest {
                method: "GET".to_owned(),
                path: "/work".to_owned(),
                query: String::new(),
                headers: Vec::new(),
                body: Vec::new(),
            };
            match services::call("hostile", &call) {
                Ok(answer) => Ok(answer),
                Err(error) => ok(&format!("{error:?}")),
            }
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
