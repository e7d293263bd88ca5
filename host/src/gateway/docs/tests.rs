//! The document, made of what scripted services say of themselves.

use serde_json::{Value, json};

use super::*;
use crate::gateway::script::{Scripted, entry, respond, router};
use crate::manifest::{self, AuthLevel, RouteAuth};

fn service(name: &str) -> Arc<Scripted> {
    Scripted::new(name, |_| Ok(respond(200, &[], "")))
}

/// A description with one schema, `Item`, which every operation answers with.
fn described(title: &str, item: &Value, paths: &[(&str, &str)]) -> Value {
    let mut items = json!({});
    for (method, path) in paths {
        let schema = json!({ "$ref": "#/components/schemas/Item" });
        let answer = json!({ "description": "It.", "content": { "application/json": { "schema": schema } } });
        items[path][method] = json!({ "operationId": "show", "responses": { "200": answer } });
    }
    let info = json!({ "title": title, "version": "1", "description": "About it." });
    json!({ "openapi": "3.1.0", "info": info, "paths": items, "components": { "schemas": { "Item": item } } })
}

async fn document_of(services: Vec<(manifest::Service, Arc<Scripted>)>) -> Value {
    let router = router(services).unwrap();
    serde_json::from_slice(&document(&router, None).await.unwrap().body).unwrap()
}

#[tokio::test]
async fn only_what_is_routed_and_described_is_in_the_document() {
    let (users, silent) = (service("users"), service("silent"));
    users.describe(
        "1",
        &described("Users", &json!({}), &[("get", "/users"), ("delete", "/users"), ("get", "/x")]),
    );
    let routes = entry("users", &["GET,POST /users", "GET /users/{id}"], &["GET /stats"]);
    let merged = document_of(vec![(routes, users), (entry("silent", &["GET /silent"], &[]), silent)]).await;
    let paths: Vec<_> = merged["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/.well-known/jwks.json", "/api/docs/openapi.json", "/api/health", "/users"]);
    let methods: Vec<_> = merged["paths"]["/users"].as_object().unwrap().keys().collect();
    assert_eq!(methods, ["get"]);
    assert_eq!(merged["x-wasmyard-versions"], json!({ "users": "1" }));
}

#[tokio::test]
async fn two_services_may_mean_different_things_by_one_name() {
    let (a, b) = (service("a"), service("b"));
    a.describe("1", &described("A", &json!({ "type": "string" }), &[("get", "/a")]));
    b.describe("1", &described("B", &json!({ "type": "integer" }), &[("get", "/b")]));
    let merged =
        document_of(vec![(entry("a", &["GET /a"], &[]), a), (entry("b", &["GET /b"], &[]), b)]).await;
    let schema = |path: &str| {
        let answer = &merged["paths"][path]["get"]["responses"]["200"];
        let name = answer["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        merged.pointer(name.strip_prefix('#').unwrap()).unwrap()["type"].clone()
    };
    assert_eq!((schema("/a"), schema("/b")), (json!("string"), json!("integer")));
    assert_eq!(merged["paths"]["/a"]["get"]["operationId"], "a_show");
    assert_eq!(merged["paths"]["/b"]["get"]["operationId"], "b_show");
}

#[tokio::test]
async fn who_may_ask_and_where_is_the_hosts_to_say() {
    let users = service("users");
    let mut description = described("Users", &json!({}), &[("get", "/users")]);
    let elsewhere = json!([{ "url": "https://elsewhere.example" }]);
    let item = &mut description["paths"]["/users"];
    item["servers"] = elsewhere.clone();
    item["get"]["servers"] = elsewhere;
    item["get"]["security"] = json!([{ "their_scheme": [] }]);
    item["get"]["responses"]["401"] = json!({ "description": "Their own words." });
    description["components"]["securitySchemes"] =
        json!({ "their_scheme": { "type": "http", "scheme": "basic" } });
    users.describe("1", &description);
    let mut routes = entry("users", &["GET /users"], &[]);
    let levels = [("GET".to_owned(), AuthLevel::Required)].into();
    routes.routes[0].auth = RouteAuth { levels, role: Some("admin".to_owned()), local_optional: false };
    let merged = document_of(vec![(routes, users)]).await;

    let text = merged.to_string();
    assert!(!text.contains("elsewhere.example") && !text.contains("their_scheme"), "{text}");
    let operation = &merged["paths"]["/users"]["get"];
    assert_eq!(operation["security"], json!([{ "access_token": [] }]));
    assert_eq!(operation["responses"]["403"]["$ref"], "#/components/responses/MissingRole");
    let unauthorized = &operation["responses"]["401"];
    assert!(unauthorized["description"].as_str().unwrap().starts_with("Their own words. "), "{unauthorized}");
    let examples = &unauthorized["content"]["application/problem+json"]["examples"];
    assert_eq!(examples["host-1"]["value"]["type"], "urn:wasmyard:problem:token-required");
    let challenge = &unauthorized["headers"]["WWW-Authenticate"]["example"];
    assert!(challenge.as_str().unwrap().starts_with("Bearer"), "{challenge}");
}

#[tokio::test]
async fn a_document_is_made_once_for_the_same_versions() {
    let users = service("users");
    let describe = |label: &str| users.describe(label, &described("Users", &json!({}), &[("get", "/users")]));
    describe("1");
    let router = router([(entry("users", &["GET /users"], &[]), users.clone())]).unwrap();
    let (first, again) = (document(&router, None).await.unwrap(), document(&router, None).await.unwrap());
    assert!(Arc::ptr_eq(&first, &again));
    let alone = document(&router, Some("users")).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &alone));
    describe("2");
    let swapped = document(&router, None).await.unwrap();
    assert_ne!((&first.body, &first.tag), (&swapped.body, &swapped.tag));
    assert!(document(&router, Some("nobody")).await.is_none());
}

#[test]
fn the_documentation_is_where_the_manifest_says() {
    let at = |docs_path: Option<&str>, path| {
        let settings = Settings { docs_path: docs_path.map(str::to_owned), ..Settings::default() };
        page(&settings, path)
    };
    assert_eq!(at(Some("/help"), "/help/openapi.json"), Some(Page::Document));
    assert_eq!(at(Some("/help"), "/help/"), Some(Page::Slash));
    assert!(matches!(at(Some("/help"), "/help"), Some(Page::File(_))));
    for path in ["/", "/hel", "/helper", "/help/x", "/api/docs"] {
        assert_eq!(at(Some("/help"), path), None, "{path}");
    }
    assert_eq!(at(None, "/api/docs"), None);
}

#[test]
fn the_page_names_its_own_path_and_asks_nobody_else() {
    let Some(Page::File(file)) =
        page(&Settings { docs_path: Some("/a&b".to_owned()), ..Settings::default() }, "/a&b")
    else {
        panic!("the page is there")
    };
    let response = file.response("/a&b");
    let html = std::str::from_utf8(&response.body).unwrap();
    assert!(html.contains("src=\"/a&amp;b/swagger-ui.js\"") && !html.contains("{here}"), "{html}");
    assert!(!html.contains("http:") && !html.contains("https:"), "{html}");
    let policy = response.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
}
