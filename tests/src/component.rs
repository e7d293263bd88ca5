//! Components for tests, as services and as bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use wasmyard::manifest::{Grants, Isolation, Route, Service, ServiceLimits};

/// A service `hostile` of one test component. It has the paths `/work`, where the
/// component does its worst, and `/health`, where it behaves; it may log, and has half
/// a second for a request.
pub fn hostile(component: &str) -> Service {
    let route = |path: &str| Route {
        path: path.to_owned(),
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        ..Route::default()
    };
    Service {
        name: "hostile".to_owned(),
        component: component.into(),
        build: None,
        routes: vec![route("/work"), route("/health")],
        direct: None,
        internal: Vec::new(),
        grants: Grants { log: true, ..Grants::default() },
        limits: ServiceLimits { request_timeout: Duration::from_millis(500), ..ServiceLimits::default() },
        rate_limit: None,
        events: None,
        background: None,
        isolation: Isolation::Instance,
        settings: BTreeMap::new(),
    }
}

/// The bytes of a component's file.
///
/// # Panics
/// When it cannot be read.
pub fn bytes(component: &str) -> Vec<u8> {
    std::fs::read(component).unwrap_or_else(|error| panic!("{component}: {error}"))
}

/// The same component in another build: it does the same, and has another digest. `mark`
/// stands in a custom section at its end.
pub fn rebuilt(component: &str, mark: u8) -> Vec<u8> {
    // Id 0, seven bytes: a name of five, and one byte of content.
    [bytes(component).as_slice(), &[0, 7, 5], b"build", &[mark]].concat()
}
