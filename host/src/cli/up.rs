//! `wasmyard up`.

use std::sync::Arc;

use clap::Args;

use super::build::build_all;
use super::check::failed;
use super::progress::Progress;
use super::table::{pairs, print, print_json, table};
use super::{CliError, Context, Exit};
use crate::host::{self, Ready, UpOptions};
use crate::local::LocalError;

/// Serve what the manifest says, until a signal
///
/// Ctrl-C or SIGTERM drains: no new connections, requests in flight are answered,
/// then everything that was started here is stopped.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard up --local                            on this machine, with all it needs
  WASMYARD_HTTPS_PORT=443 wasmyard up --local    on the standard port
  DATABASE_URL=postgres://… REDIS_URL=redis://… wasmyard up")]
pub struct Up {
    /// Build the components, start a Postgres and a Redis where none is configured,
    /// load sample data, open the services' direct ports, and deploy what changes
    #[arg(long)]
    local: bool,
}

impl Up {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let manifest = context.load_manifest()?;
        let progress = Arc::new(Progress::start(context.json));
        if self.local {
            build_all(&manifest, |_| true, &progress).await?;
        }
        let (steps, end) = (progress.clone(), progress.clone());
        let (json, local) = (context.json, self.local);
        let options = UpOptions {
            manifest,
            local,
            progress: Box::new(move |step| steps.step(step)),
            ready: Box::new(move |ready| {
                end.finish();
                let told = if json { print_json(ready) } else { print(&show(ready, local)) };
                if let Err(error) = told {
                    // Serving matters more than the table.
                    tracing::warn!(%error, "the addresses could not be shown");
                }
            }),
        };
        host::run(options).await.map_err(|error| match error.downcast_ref::<LocalError>() {
            Some(LocalError::Io { .. }) => CliError::new(Exit::Io, format!("{error:#}")),
            _ => failed(&error),
        })
    }
}

/// Where everything is, with lines to paste.
fn show(ready: &Ready, local: bool) -> String {
    let https = format!("https://{}", host_name(ready.https));
    let mut text = format!("\nServing at {https}\n\n");
    let rows = ready.services.iter().map(|service| {
        [
            service.name.clone(),
            service.version.clone().unwrap_or_else(|| "down".to_owned()),
            service.direct_port.map_or_else(|| "-".to_owned(), |port| format!("http://localhost:{port}")),
            abridged(&service.routes),
        ]
    });
    text.push_str(&table(["SERVICE", "VERSION", "DIRECT", "ROUTES"], rows));
    text.push('\n');
    let path =
        ready.services.iter().find_map(|service| service.routes.iter().find(|route| !route.contains('{')));
    let mut rows = vec![["Admin".to_owned(), format!("http://{}", ready.admin)]];
    if let Some(http) = ready.http {
        rows.push(["Redirect".to_owned(), format!("http://{}", host_name(http))]);
    }
    rows.extend(ready.docs_path.iter().map(|path| ["API".to_owned(), format!("{https}{path}")]));
    rows.push(["Try".to_owned(), format!("curl -k {https}{}", path.map_or("/", String::as_str))]);
    rows.extend(ready.psql.iter().map(|line| ["Postgres".to_owned(), line.clone()]));
    rows.extend(ready.redis_cli.iter().map(|line| ["Redis".to_owned(), line.clone()]));
    text.push_str(&pairs(rows));
    for warning in &ready.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    if !ready.warnings.is_empty() {
        text.push('\n');
    }
    if local {
        text.push_str("\nA changed component or manifest is deployed by itself. Ctrl-C drains and stops.\n");
    }
    text
}

/// Routes in one line: `/api/v1/users  …/{id}  …/stats`.
fn abridged(routes: &[String]) -> String {
    let Some((first, others)) = routes.split_first() else { return "-".to_owned() };
    let shorten = |route: &String| {
        let rest = route.strip_prefix(first.as_str()).filter(|rest| rest.starts_with('/'));
        rest.map_or_else(|| format!("  {route}"), |rest| format!("  …{rest}"))
    };
    first.clone() + &others.iter().map(shorten).collect::<String>()
}

/// What to type into a browser: an address that means every interface is this
/// machine's own name.
fn host_name(address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ReadyService;

    #[test]
    fn the_table_has_every_address_and_what_is_wrong() {
        let service = |name: &str, version: Option<&str>, direct_port| ReadyService {
            name: name.into(),
            version: version.map(str::to_owned),
            routes: vec![format!("/api/v1/{name}"), format!("/api/v1/{name}/{{id}}"), "/other".to_owned()],
            direct_port,
        };
        let ready = Ready {
            https: ([127, 0, 0, 1], 8443).into(),
            http: Some(([0, 0, 0, 0], 8081).into()),
            admin: ([127, 0, 0, 1], 9901).into(),
            docs_path: Some("/api/docs".to_owned()),
            services: vec![service("orders", None, None), service("users", Some("0123456789ab"), Some(5000))],
            psql: Some("psql -p 5432".into()),
            redis_cli: Some("redis-cli -p 6379".into()),
            warnings: vec!["port 8080 of orders is in use".into()],
        };
        let expected = "
Serving at https://localhost:8443

SERVICE  VERSION       DIRECT                 ROUTES
orders   down          -                      /api/v1/orders  …/{id}  /other
users    0123456789ab  http://localhost:5000  /api/v1/users  …/{id}  /other

Admin     http://127.0.0.1:9901
Redirect  http://localhost:8081
API       https://localhost:8443/api/docs
Try       curl -k https://localhost:8443/api/v1/orders
Postgres  psql -p 5432
Redis     redis-cli -p 6379

warning: port 8080 of orders is in use

A changed component or manifest is deployed by itself. Ctrl-C drains and stops.
";
        assert_eq!(show(&ready, true), expected);
    }
}
