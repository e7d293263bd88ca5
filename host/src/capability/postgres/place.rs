//! Where a database is, as spans name it.

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::telemetry::trace::Recording;

/// The port of Postgres, unless the address has another.
const PORT: u16 = 5432;

/// A database on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    database: Option<String>,
    /// Host or socket, and port; unknown where there are several to choose from.
    server: Option<(String, u16)>,
}

impl Place {
    /// The place that a connection string names.
    pub(super) fn of(config: &Config) -> Self {
        let port = config.get_ports().first().copied().unwrap_or(PORT);
        let server = match config.get_hosts() {
            [Host::Tcp(name)] => Some((name.clone(), port)),
            [Host::Unix(folder)] => Some((folder.display().to_string(), port)),
            _ => None,
        };
        Self { database: config.get_dbname().map(str::to_owned), server }
    }

    /// Names it in a span.
    pub(super) fn write(&self, span: &mut Recording) {
        if let Some(database) = &self.database {
            span.set("db.namespace", database.clone());
        }
        if let Some((address, port)) = &self.server {
            span.set("server.address", address.clone());
            span.set("server.port", i64::from(*port));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_that_of_the_address_and_never_its_password() {
        for (url, database, server) in [
            ("postgres://owner:pw@db.internal:6543/shop", Some("shop"), Some(("db.internal", 6543))),
            ("postgres://owner:pw@db.internal/shop", Some("shop"), Some(("db.internal", 5432))),
            ("host=/run/postgresql dbname=shop", Some("shop"), Some(("/run/postgresql", 5432))),
            ("postgres://owner@one,two/shop", Some("shop"), None),
            ("postgres://owner@one", None, Some(("one", 5432))),
        ] {
            let place = Place::of(&url.parse().unwrap());
            let server = server.map(|(name, port): (&str, u16)| (name.to_owned(), port));
            assert_eq!(place, Place { database: database.map(str::to_owned), server }, "{url}");
        }
    }
}
