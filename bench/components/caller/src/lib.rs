//! A guest for measuring what a call out of a guest costs: it makes as many calls as
//! the query says, and the time of one is the difference between many and none.

use wasmyard_guest::services::{CallRequest, call};
use wasmyard_guest::{Guest, Problem, Request, Response, redis};

/// Calls what the route names.
pub struct Caller;

impl Guest for Caller {
    fn handle(request: &Request) -> Result<Response, Problem> {
        let times: u32 = request.query.parse().unwrap_or(0);
        for _ in 0..times {
            match request.route.as_str() {
                "/calls/host" => drop(redis::get("caller:1")),
                "/calls/service" => {
                    let request = CallRequest {
                        method: "GET".to_owned(),
                        path: "/hello".to_owned(),
                        query: String::new(),
                        headers: Vec::new(),
                        body: Vec::new(),
                    };
                    if !matches!(call("hello", &request), Ok(response) if response.status == 200) {
                        return Ok(Response { status: 502, headers: Vec::new(), body: Vec::new() });
                    }
                }
                _ => {}
            }
        }
        Ok(Response { status: 204, headers: Vec::new(), body: Vec::new() })
    }
}

wasmyard_guest::export!(Caller);
