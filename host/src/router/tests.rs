use super::*;
use crate::gateway::script::{Scripted, entry, respond, router};

fn shop() -> Router {
    let service = |name: &str| Scripted::new(name, |_| Ok(respond(200, &[], "")));
    let users = entry(
        "users",
        &["GET,POST /api/v1/users", "GET /api/v1/users/stats", "GET /api/v1/users/{id}"],
        &["GET /api/v1/stats", "DELETE /api/v1/users"],
    );
    let mut products =
        entry("products", &["GET /api/v1/products/{id}", "PATCH /api/v1/products/{id}/stock"], &[]);
    products.internal = entry("", &["DELETE /internal/reservations/{id}"], &[]).routes;
    router([(users, service("users")), (products, service("products"))]).unwrap()
}

/// The match in one word and its detail.
fn find(table: &Table, method: &str, path: &str) -> (&'static str, String) {
    match table.find(&Method::from_bytes(method.as_bytes()).unwrap(), path) {
        Match::Found(found) => {
            let params: Vec<String> =
                found.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let endpoint = &found.endpoint;
            let text = format!("{} {} {}", endpoint.handler.name(), endpoint.route, params.join("&"));
            ("found", text.trim_end().to_owned())
        }
        Match::MethodNotAllowed(endpoint) => ("method", endpoint.allow.to_str().unwrap().to_owned()),
        Match::Options(endpoint) => ("options", endpoint.allow.to_str().unwrap().to_owned()),
        Match::BadParameter(_, reason) => ("bad", reason.to_owned()),
        Match::NotFound => ("none", String::new()),
    }
}

#[test]
fn a_path_leads_to_one_route() {
    let router = shop();
    let cases = [
        ("GET", "/api/v1/users", "found", "users /api/v1/users"),
        ("POST", "/api/v1/users", "found", "users /api/v1/users"),
        ("GET", "/api/v1/users/7", "found", "users /api/v1/users/{id} id=7"),
        ("GET", "/api/v1/users/stats", "found", "users /api/v1/users/stats"),
        ("PATCH", "/api/v1/products/2/stock", "found", "products /api/v1/products/{id}/stock id=2"),
        ("HEAD", "/api/v1/users", "found", "users /api/v1/users"),
        ("DELETE", "/api/v1/users", "method", "GET, HEAD, POST, OPTIONS"),
        ("HEAD", "/api/v1/products/2/stock", "method", "PATCH, OPTIONS"),
        ("BREW", "/api/v1/users", "method", "GET, HEAD, POST, OPTIONS"),
        ("OPTIONS", "/api/v1/users", "options", "GET, HEAD, POST, OPTIONS"),
        ("OPTIONS", "/nowhere", "none", ""),
        ("GET", "/api/v1/stats", "none", ""),
        ("GET", "/health", "none", ""),
    ];
    for (method, path, outcome, detail) in cases {
        assert_eq!(find(router.public(), method, path), (outcome, detail.to_owned()), "{method} {path}");
    }
}

#[test]
fn a_service_by_itself_has_its_direct_routes_and_its_health() {
    let router = shop();
    let users = router.of("users").unwrap();
    assert_eq!(find(users, "GET", "/api/v1/stats").0, "found");
    assert_eq!(find(users, "GET", "/health").0, "found");
    assert_eq!(find(users, "DELETE", "/api/v1/users").0, "found");
    assert_eq!(find(users, "PUT", "/api/v1/users").1, "GET, HEAD, POST, DELETE, OPTIONS");
    assert_eq!(find(users, "GET", "/api/v1/products/1").0, "none");
    assert!(router.of("payments").is_none());
}

#[test]
fn what_is_internal_is_reached_by_other_services_alone() {
    let router = shop();
    let (method, path) = ("DELETE", "/internal/reservations/7");
    let products = router.internal("products").unwrap();
    assert_eq!(find(products, method, path).1, "products /internal/reservations/{id} id=7");
    assert_eq!(find(products, "GET", "/api/v1/products/1").0, "found");
    for reached in [router.public(), router.of("products").unwrap(), router.internal("users").unwrap()] {
        assert_eq!(find(reached, method, path).0, "none");
    }
}

#[test]
fn paths_are_matched_as_they_are_sent() {
    let router = shop();
    for path in [
        "/api/v1/users/",
        "//api/v1/users",
        "/api//v1/users",
        "/api/v1/users//",
        "/api/v1/x/../users",
        "/api/v1/./users",
        "/api/v1/%75sers",
        "/API/v1/users",
        "/api/v1/users/1/2",
        "",
        "/",
        "*",
    ] {
        assert_eq!(find(router.public(), "GET", path).0, "none", "{path:?}");
    }
    assert_eq!(find(router.public(), "GET", "/api/v1/users/..").1, "users /api/v1/users/{id} id=..");
}

#[test]
fn parameters_are_decoded_or_refused() {
    let router = shop();
    let cases = [
        ("a%20b", "found", "users /api/v1/users/{id} id=a b"),
        ("%C3%A9", "found", "users /api/v1/users/{id} id=é"),
        ("a%2Fb", "found", "users /api/v1/users/{id} id=a/b"),
        ("a+b", "found", "users /api/v1/users/{id} id=a+b"),
        ("%2525", "found", "users /api/v1/users/{id} id=%25"),
        ("%zz", "found", "users /api/v1/users/{id} id=%zz"),
        ("%FF", "bad", "a segment of the path is not UTF-8"),
        ("%C3", "bad", "a segment of the path is not UTF-8"),
        ("1%00", "bad", "a segment of the path has a NUL in it"),
    ];
    for (segment, outcome, detail) in cases {
        let path = format!("/api/v1/users/{segment}");
        assert_eq!(find(router.public(), "GET", &path), (outcome, detail.to_owned()), "{segment}");
    }
}

#[test]
fn head_reaches_the_guest_as_get() {
    let router = shop();
    let Match::Found(found) = router.public().find(&Method::HEAD, "/api/v1/users") else {
        panic!("HEAD comes with GET");
    };
    assert_eq!(found.method, Method::GET);
}

#[test]
fn templates_of_two_services_must_not_meet() {
    let service = |name: &str| Scripted::new(name, |_| Ok(respond(200, &[], "")));
    for (one, other) in [("/a/{id}", "/a/{id}"), ("/a/{id}", "/a/{name}"), ("/a", "/a")] {
        let services = [
            (entry("one", &[&format!("GET {one}")], &[]), service("one")),
            (entry("other", &[&format!("POST {other}")], &[]), service("other")),
        ];
        let conflict = router(services).err().unwrap();
        assert_eq!((conflict.service.as_str(), conflict.path.as_str()), ("other", other));
    }
    assert!(router([(entry("one", &["GET /a/{"], &[]), service("one"))]).is_err());
    assert!(router([(entry("one", &["G=T /a"], &[]), service("one"))]).is_err());
}
