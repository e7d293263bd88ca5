//! A new service's files.

use std::path::Path;

/// The files of `components/NAME`. `own_library` is false when the workspace has the
/// guest library as a dependency of its own.
pub(super) fn files(name: &str, own_library: bool) -> [(&'static str, String); 2] {
    let library = if own_library { "{ path = \"../guest\" }" } else { "{ workspace = true }" };
    let cargo = format!(
        r#"[package]
name = "{name}"
description = "The {name} service"
version = "0.1.0"
edition = "2024"
publish = false

[lib]
crate-type = ["cdylib", "rlib"]

[dependencies]
serde = {{ version = "1.0", features = ["derive"] }}
wasmyard-guest = {library}

[dev-dependencies]
serde_json = "1.0"
"#
    );
    [("Cargo.toml", cargo), ("src/lib.rs", LIB.replace("NAME", name))]
}

/// What the user reads at the end.
pub(super) fn next_steps(name: &str, manifest: &Path) -> String {
    let service = format!("components/{name}/src/lib.rs");
    let manifest = manifest.display().to_string();
    let width = service.len().max(manifest.len()) + 3;
    format!(
        "\
Made the service {name}: its test passes, its component is built and checked.

  {service:width$}the service
  {manifest:width$}its routes and grants, in [services.{name}]

A running `wasmyard up --local` serves it by itself; otherwise start one. Then:

  curl -k https://localhost:8443/api/v1/{name}

Its own tests run with `cargo test -p {name}`. Once it asks a database, a cache or another
service, test the component itself, in milliseconds and without any of these running:

  let service = Harness::service(&manifest.services[\"{name}\"])
      .postgres(ScriptedPostgres::new().expect(\"SELECT\", rows([\"id\"], [vec![1.into()]])))
      .start().await?;
  assert_eq!(service.get(\"/api/v1/{name}\").await?.status, 200);

The module `wasmyard::testing` documents it, with whole examples.
"
    )
}

const LIB: &str = r#"//! The NAME service.

use serde::Serialize;
use wasmyard_guest::{Guest, Problem, Request, Response};

/// One item of the list.
#[derive(Debug, Serialize)]
struct Greeting {
    name: String,
    text: String,
}

struct Service;

wasmyard_guest::export!(Service);

impl Guest for Service {
    /// One function from request to response. The host has routed the request: match
    /// on its method and on its route's template, as the manifest has it.
    fn handle(request: &Request) -> Result<Response, Problem> {
        match (request.method.as_str(), request.route.as_str()) {
            ("GET", "/api/v1/NAME") => list(),
            ("GET", "/api/v1/NAME/{name}") => item(request),
            // The host asks for this before it lets a new version serve.
            ("GET", "/api/v1/NAME/health" | "/health") => health(),
            _ => Err(Problem::no_route()),
        }
    }
}

fn list() -> Result<Response, Problem> {
    Response::json(200, &["world", "moon"].map(greet))
}

fn item(request: &Request) -> Result<Response, Problem> {
    Response::json(200, &greet(request.param("name").unwrap_or("world")))
}

fn health() -> Result<Response, Problem> {
    Response::json(200, &Health { status: "ok" })
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
}

fn greet(name: &str) -> Greeting {
    Greeting { name: name.to_owned(), text: format!("Hello, {name}!") }
}

/// These run on the build machine, without a host: `cargo test -p NAME`. What calls the
/// host (SQL, the cache, another service) is tested with `wasmyard::testing::Harness`,
/// which runs the built component with capabilities that the test scripts.
#[cfg(test)]
mod tests {
    use super::*;

    fn get(route: &str, params: &[(&str, &str)]) -> Request {
        let params = params.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Request { route: route.to_owned(), params, ..Request::default() }
    }

    fn json(request: &Request) -> serde_json::Value {
        let response = Service::handle(request).expect("an answer");
        assert_eq!(response.status, 200);
        serde_json::from_slice(&response.body).expect("JSON")
    }

    #[test]
    fn the_list_greets_everyone() {
        let list = json(&get("/api/v1/NAME", &[]));
        assert_eq!(list[0]["text"], "Hello, world!");
        assert_eq!(list.as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn an_item_greets_by_name() {
        let item = json(&get("/api/v1/NAME/{name}", &[("name", "Ferris")]));
        assert_eq!(item["text"], "Hello, Ferris!");
    }

    #[test]
    fn it_is_healthy() {
        assert_eq!(json(&get("/health", &[]))["status"], "ok");
    }
}
"#;
