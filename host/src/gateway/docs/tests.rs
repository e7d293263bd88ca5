//! The document, made of what scripted services say of themselves.

use serde_json::{Value, json};

use super::*;
use crate::gateway::script::{Scripted, entry, respond, router};
use crate::manifest::{self, AuthLevel, EventForm, Events, KeyForm, RouteAuth};

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

/// Each of these would be refused before it came here (`runtime/description/shape.rs`); that
/// the host lives does not hang on it.
#[tokio::test]
async fn no_description_whatever_ends_the_host() {
    let whole = json!({
        "openapi": "3.1.0",
        "info": { "title": "Users", "description": "About it." },
        "paths": { "/users/{id}": {
            "parameters": [{ "$ref": "#/components/parameters/Id" }],
            "get": {
                "operationId": "show",
                "description": "Shows it.",
                "parameters": [{ "name": "q", "in": "query", "schema": {} }],
                "responses": {
                    "400": { "$ref": "#/components/responses/Bad" },
                    "500": { "description": "Failed.", "content": { "application/problem+json": { "schema": {}, "example": 1 } } },
                    "503": { "description": "Away.", "headers": {}, "links": { "next": { "operationId": "show" } } },
                },
            },
        } },
        "components": {
            "schemas": { "HostProblem": { "properties": { "a": { "$ref": "#/components/schemas/HostProblem" } } } },
            "responses": { "Bad": { "description": "Bad.", "content": {} } },
            "parameters": { "Id": { "name": "id", "in": "path", "schema": {} } },
        },
    });
    let mut places = Vec::new();
    each_place(&whole, String::new(), &mut places);
    assert!(places.len() > 40, "{places:?}");
    for place in places.iter().filter(|place| !place.is_empty()) {
        for nonsense in [
            json!(null),
            json!(7),
            json!("x"),
            json!([]),
            json!([7]),
            json!({}),
            json!({ "$ref": "#/components/responses/Bad" }),
        ] {
            let mut description = whole.clone();
            *description.pointer_mut(place).unwrap() = nonsense;
            let users = service("users");
            users.describe("1", &description);
            let router = router(vec![(entry("users", &["GET /users/{id}"], &[]), users)]).unwrap();
            for door in [None, Some("users")] {
                document(&router, door).await.unwrap();
            }
        }
    }
}

fn each_place(value: &Value, place: String, places: &mut Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                each_place(item, format!("{place}/{number}"), places);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                each_place(member, format!("{place}/{}", escaped(name)), places);
            }
        }
        _ => {}
    }
    places.push(place);
}

#[tokio::test]
async fn what_the_host_adds_stands_beside_what_a_service_says() {
    let users = service("users");
    let mut description =
        described("Users", &json!({}), &[("get", "/users/{id}"), ("delete", "/users/{id}")]);
    description["components"]["responses"] = json!({ "Bad": { "description": "Bad." } });
    description["components"]["parameters"] =
        json!({ "Tag": { "name": "if-none-match", "in": "header", "schema": {}, "description": "Theirs." } });
    let item = &mut description["paths"]["/users/{id}"];
    item["parameters"] = json!([{ "$ref": "#/components/parameters/Tag" }]);
    let get = &mut item["get"];
    get["responses"]["400"] = json!({ "$ref": "#/components/responses/Bad" });
    get["responses"]["500"] = json!({ "description": "Theirs.", "content": { "Application/Problem+JSON": { "example": { "a": 1 } } } });
    get["responses"]["503"] = json!({ "description": "Theirs.", "content": { "application/problem+json": { "schema": { "type": "object" } } } });
    users.describe("1", &description);
    let merged = document_of(vec![(entry("users", &["GET,DELETE /users/{id}"], &[]), users)]).await;

    let operation = &merged["paths"]["/users/{id}"]["get"];
    let parameters = operation["parameters"].as_array().unwrap();
    let named = |name: &str| parameters.iter().filter(|known| known["name"] == name).collect::<Vec<_>>();
    assert_eq!((named("if-none-match").len(), named("If-None-Match").len()), (1, 0), "{parameters:?}");
    assert_eq!(named("if-none-match")[0]["description"], "Theirs.");
    assert_eq!(
        named("id"),
        [&json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } })]
    );
    let responses = &operation["responses"];
    assert_eq!(responses["400"]["description"], "Bad. The request is malformed.");
    let content = &responses["500"]["content"]["Application/Problem+JSON"];
    assert_eq!(content["schema"], Value::Null, "what may be anything stays so");
    assert_eq!(content["examples"]["1"]["value"], json!({ "a": 1 }));
    assert_eq!(content["examples"]["host-1"]["value"]["status"], 500);
    let away = &responses["503"]["content"]["application/problem+json"];
    assert_eq!(away["schema"]["anyOf"][1]["$ref"], "#/components/schemas/HostProblem");
    assert_eq!(away["examples"]["host-1"]["value"]["status"], 503);
    // Two operations of one id are told apart.
    let id = |method: &str| merged["paths"]["/users/{id}"][method]["operationId"].clone();
    assert_eq!((id("delete"), id("get")), (json!("users_show"), json!("users_show_2")));
}

#[tokio::test]
async fn events_are_described_as_their_topic_has_them() {
    let orders = service("orders");
    orders.describe("1", &described("Orders", &json!({}), &[]));
    let mut routes = entry("orders", &["GET /a", "GET /b/{shop}", "GET /ws"], &[]);
    for (route, form) in routes.routes.iter_mut().zip([EventForm::Sse, EventForm::Sse, EventForm::WebSocket])
    {
        route.events = Some(form);
    }
    let mut topic = events();
    routes.events = Some(topic.clone());
    let merged = document_of(vec![(routes.clone(), orders.clone())]).await;
    let get = |path: &str| merged["paths"][path]["get"].clone();
    assert_ne!(get("/a")["operationId"], get("/b/{shop}")["operationId"]);
    let shop = get("/b/{shop}")["parameters"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&shop["name"], &shop["in"], &shop["required"]),
        (&json!("shop"), &json!("path"), &json!(true))
    );
    for (path, expected) in [
        ("/a", &["200", "400", "403", "414", "429", "431", "503"][..]),
        ("/ws", &["101", "400", "403", "414", "426", "429", "431", "503"]),
    ] {
        let operation = get(path);
        let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().collect();
        assert_eq!(statuses, expected, "{path}");
        let example = &operation["responses"]["429"]["content"]["application/problem+json"]["examples"];
        assert_eq!(example["events-1"]["value"]["detail"], "One client may have 3 subscriptions at once.");
    }
    let upgrade = &get("/ws")["responses"]["426"];
    assert_eq!(upgrade["headers"]["Upgrade"]["example"], "websocket");
    assert_eq!(upgrade["headers"]["Sec-WebSocket-Version"]["example"], "13");
    let key = |document: &Value| {
        let parameters = document["paths"]["/a"]["get"]["parameters"].as_array().unwrap().clone();
        parameters.into_iter().find(|parameter| parameter["name"] == "order_id").unwrap()["schema"].clone()
    };
    assert_eq!((&key(&merged)["type"], &key(&merged)["minimum"]), (&json!("integer"), &json!(1)));
    topic.key_form = KeyForm::Text;
    routes.events = Some(topic);
    let merged = document_of(vec![(routes, orders)]).await;
    assert_eq!(key(&merged)["pattern"], "^[A-Za-z0-9_-]{1,64}$");
}

fn events() -> Events {
    Events {
        topic: "orders".to_owned(),
        key: Some("order_id".to_owned()),
        key_form: KeyForm::Integer,
        all: None,
        keep: 1,
        origins: Vec::new(),
        subscribers_max: 10,
        subscribers_per_client_max: 3,
    }
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
