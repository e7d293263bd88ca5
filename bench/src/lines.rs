//! What is measured, and the target of each line.

use anyhow::Result;

use crate::report::Target;
use crate::systems::Systems;
use wasmyard_bench::process::Process;

/// One line of the table: a load, put on two sides in turn.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// A name for `--only` and the results.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// For the ratio of the two rates.
    pub(crate) target: Option<Target>,
    pub(crate) first: Side,
    pub(crate) second: Side,
    pub(crate) load: Load,
    pub(crate) connections: usize,
}

/// Who is put under load, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// Wasmyard: a service's own port, plain HTTP.
    Wasmyard(&'static str, &'static str),
    /// Wasmyard without its near cache.
    Far(&'static str, &'static str),
    /// The native peer.
    Native(&'static str),
}

/// Which requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// GET of one address.
    Same,
    /// GET of one address, over TLS and HTTP/2.
    Http2,
    /// GET of each order once, none of them cached.
    Miss,
    /// POST of new users.
    CreateUser,
    /// POST of new orders.
    CreateOrder,
}

const USER: &str = "/api/v1/users/1";
const USERS: &str = "/api/v1/users";
const ORDERS: &str = "/api/v1/orders";

/// As many as a service behind a proxy has.
const CONNECTIONS: usize = 32;

/// The line whose rate the latency is measured at the half of, and whose processor time
/// has a target of its own.
pub(crate) const ITEM: &str = "item";

/// All of them.
pub(crate) fn all() -> Vec<Line> {
    let users = |path| Side::Wasmyard("users", path);
    let orders = |path| Side::Wasmyard("orders", path);
    let line = |name, what, at_least, first, second, load| Line {
        name,
        what,
        target: Some(Target::AtLeast(at_least)),
        first,
        second,
        load,
        connections: CONNECTIONS,
    };
    let mut lines = vec![
        line(ITEM, "item from cache", 1.5, users(USER), Side::Native(USER), Load::Same),
        line(
            "item-far",
            "item from cache, near cache off",
            0.85,
            Side::Far("users", USER),
            Side::Native(USER),
            Load::Same,
        ),
        line("list", "list from cache", 1.5, users(USERS), Side::Native(USERS), Load::Same),
        line("miss", "item missing in the cache", 0.9, orders(ORDERS), Side::Native(ORDERS), Load::Miss),
        line("create-user", "create user", 0.8, users(USERS), Side::Native(USERS), Load::CreateUser),
        line("create-order", "create order", 0.8, orders(ORDERS), Side::Native(ORDERS), Load::CreateOrder),
        Line {
            target: None,
            ..line(
                "http2",
                "item from cache, TLS with HTTP/2",
                0.0,
                users(USER),
                Side::Native(USER),
                Load::Http2,
            )
        },
        line(
            "hello",
            "guest entered and left, over bare hyper",
            0.85,
            Side::Wasmyard("hello", "/hello"),
            Side::Native("/bare"),
            Load::Same,
        ),
        line(
            "fresh",
            "a fresh instance for each request, over a warm one",
            0.6,
            Side::Wasmyard("fresh", "/fresh"),
            Side::Wasmyard("hello", "/hello"),
            Load::Same,
        ),
    ];
    for (name, what, connections) in [
        ("connections-8", "item from cache, 8 connections", 8),
        ("connections-64", "item from cache, 64 connections", 64),
        ("connections-512", "item from cache, 512 connections", 512),
        ("connections-4096", "item from cache, 4,096 connections", 4_096),
    ] {
        let (first, second) = (users(USER), Side::Native(USER));
        lines.push(Line { name, what, target: None, first, second, load: Load::Same, connections });
    }
    lines
}

impl Side {
    /// Its process.
    pub(crate) fn process(self, systems: &Systems) -> &Process {
        match self {
            Self::Wasmyard(..) => &systems.wasmyard.process,
            Self::Far(..) => &systems.far().process,
            Self::Native(_) => &systems.native.process,
        }
    }

    /// The address of its requests; a script appends to the list's.
    ///
    /// # Errors
    ///
    /// There is no such service.
    pub(crate) fn url(self, systems: &Systems, load: Load) -> Result<String> {
        let encrypted = load == Load::Http2;
        match self {
            Self::Wasmyard(_, path) if encrypted => Ok(format!("https://{}{path}", systems.wasmyard.https)),
            Self::Wasmyard(service, path) => systems.wasmyard.url(service, path),
            Self::Far(service, path) => systems.far().url(service, path),
            Self::Native(path) if encrypted => Ok(format!("{}{path}", systems.native.https)),
            Self::Native(path) => Ok(format!("{}{path}", systems.native.http)),
        }
    }

    /// Its name in the table.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Wasmyard("hello", _) => "Wasmyard, warm",
            Self::Wasmyard("fresh", _) => "Wasmyard, fresh",
            Self::Wasmyard(..) => "Wasmyard",
            Self::Far(..) => "Wasmyard, near off",
            Self::Native("/bare") => "bare hyper",
            Self::Native(_) => "native",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_own_name() {
        let mut names: Vec<_> = all().iter().map(|line| line.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.contains(&ITEM));
    }
}
