//! Imports every interface there is.

use test_components::{Guest, Problem, Request, Response, healthy_but, ok};
use wasmyard_guest::bindings::wasmyard::platform::{cache, stats};
use wasmyard_guest::{auth, config, log, postgres, redis, services, trace};

struct Component;

impl Guest for Component {
    fn handle(request: &Request) -> Result<Response, Problem> {
        healthy_but(request, || {
            log::write(log::Level::Info, "all of it", &[]);
            let setting = config::get("setting");
            let rows = postgres::query("SELECT 1", &[]).is_ok();
            let ping = redis::ping().is_ok();
            let cached = cache::invalidate(&[]).is_ok();
            let call = services::CallRequest {
                method: "GET".to_owned(),
                path: "/health".to_owned(),
                query: String::new(),
                headers: Vec::new(),
                body: Vec::new(),
            };
            let called = services::call("users", &call).is_ok();
            let version = stats::read().version;
            trace::event("all of it", &[("setting", trace::Value::from(setting.is_some()))]);
            trace::attribute("test.rows", rows);
            let token = auth::issue_access_token("1", "admin").token;
            ok(&format!(
                "{setting:?} {rows} {ping} {cached} {called} {version} {token} {}",
                trace::traceparent()
            ))
        })
    }
}

wasmyard_guest::export!(Component);

fn main() {}
