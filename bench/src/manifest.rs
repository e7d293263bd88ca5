//! The manifest that the measured host serves: the repository's own services on free
//! ports, and two more that do nothing.

use std::path::Path;

use anyhow::{Context as _, Result};
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// Instances of one service: as many as there may be, since a load generator has more
/// connections than the default allows requests at once.
const CONCURRENCY_MAX: i64 = 2_000;
/// Requests of one client in a second, and at once: a load generator is one client. The limits
/// stay on, since users have them on, at the most that they may say.
const RATE_LIMIT: i64 = 100_000;
const RATE_LIMIT_BURST: i64 = 10_000_000;
/// A service's place in the near cache when it has none.
const NEAR_OFF: i64 = 0;

/// How one host differs from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Near {
    /// As it is when nobody says anything.
    Default,
    /// Each cached answer is asked of Redis.
    Off,
}

/// Where things are that the manifest names.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) repository: &'a Path,
    /// The folder with `users.wasm` and the others.
    pub(crate) components: &'a Path,
    pub(crate) postgres: &'a str,
    pub(crate) redis: &'a str,
}

/// The manifest as text.
///
/// # Errors
///
/// The repository's manifest cannot be read, or has another form than is expected.
pub(crate) fn write(places: &Places<'_>, near: Near) -> Result<String> {
    let path = places.repository.join("wasmyard.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut manifest: DocumentMut = text.parse()?;
    manifest["server"] = table(|server| {
        server["https_port"] = value(0);
        server["http_port"] = value(false);
        server["health_path"] = value("/api/health");
    });
    manifest["admin"]["port"] = value(0);
    manifest["postgres"] = table(|postgres| {
        postgres["url"] = value(places.postgres);
        postgres["migrations"] = value(shown(&places.repository.join("migrations")));
    });
    manifest["redis"]["url"] = value(places.redis);
    manifest["pages"]["folder"] = value(shown(&places.repository.join("web")));

    let services = manifest["services"].as_table_mut().context("wasmyard.toml has services")?;
    for (name, service) in services.iter_mut() {
        let component = places.components.join(format!("{name}.wasm"));
        serve(service, &component)?;
        if near == Near::Off && service.get("grants").is_some_and(|grants| grants.get("cache").is_some()) {
            service["grants"]["cache"]["near_kib"] = value(NEAR_OFF);
        }
    }
    for (name, isolation) in [("hello", "instance"), ("fresh", "request")] {
        let mut service = Item::Table(Table::new());
        service["routes"] = value(routes([&format!("/{name}")]));
        service["isolation"] = value(isolation);
        service["direct"] = table(|direct| direct["routes"] = value(routes(["/health"])));
        // What the guest library writes a failure with; there are none.
        service["grants"] = table(|grants| grants["log"] = value(true));
        serve(&mut service, &places.components.join("hello.wasm"))?;
        services.insert(name, service);
    }
    Ok(manifest.to_string())
}

fn serve(service: &mut Item, component: &Path) -> Result<()> {
    let service = service.as_table_mut().context("a service is a table")?;
    service.remove("build");
    service["component"] = value(shown(component));
    service["direct"]["port"] = value(0);
    let limits = service.entry("limits").or_insert_with(|| Item::Table(Table::new()));
    limits["concurrency_max"] = value(CONCURRENCY_MAX);
    if let Some(limit) = service.get_mut("rate_limit") {
        limit["requests"] = value(RATE_LIMIT);
        limit["burst"] = value(RATE_LIMIT_BURST);
    }
    // Those of single routes are for who guesses and who signs up by the thousand, as the load
    // generator does: the service's counts in their place.
    for route in service.get_mut("routes").and_then(Item::as_array_mut).into_iter().flat_map(Array::iter_mut)
    {
        if let Some(route) = route.as_inline_table_mut() {
            route.remove("rate_limit");
        }
    }
    Ok(())
}

fn routes<const COUNT: usize>(paths: [&str; COUNT]) -> Array {
    let mut routes = Array::new();
    for path in paths {
        let mut route = toml_edit::InlineTable::new();
        route.insert("path", path.into());
        route.insert("methods", Array::from_iter(["GET"]).into());
        routes.push(route);
    }
    routes
}

fn table(fill: impl FnOnce(&mut Table)) -> Item {
    let mut table = Table::new();
    fill(&mut table);
    Item::Table(table)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
