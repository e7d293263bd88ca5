//! A whole host for one test.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use wasmyard::host::{Host, HostOptions};
use wasmyard::manifest::{Manifest, Service};
use wasmyard::testing::servers::{TestPostgres, TestRedis};

use crate::{Operator, Visitor, components};

/// The shop's services, and the components that the tests built of them.
const SHOP: [(&str, &str); 3] =
    [("users", components::USERS), ("products", components::PRODUCTS), ("orders", components::ORDERS)];

/// The shop of the repository's own manifest, over real HTTPS, with an empty database of
/// its own and a Redis of its own.
pub struct Shop {
    /// The running host.
    pub host: Host,
    /// The manifest that it was started with.
    pub manifest: Manifest,
    visitor: Visitor,
    dir: TempDir,
}

/// What differs from the shop as it is. Made by [`Shop::builder`].
pub struct ShopBuilder {
    change: Box<dyn FnOnce(&mut Manifest)>,
    postgres_url: Option<String>,
    redis_url: Option<String>,
    dir: Option<TempDir>,
    own_files: bool,
}

impl Shop {
    /// The shop as it is.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A shop that differs.
    pub fn builder() -> ShopBuilder {
        ShopBuilder {
            change: Box::new(|_| {}),
            postgres_url: None,
            redis_url: None,
            dir: None,
            own_files: false,
        }
    }

    /// Where HTTPS is served.
    pub fn https(&self) -> SocketAddr {
        self.host.addresses().https
    }

    /// The address of a service's own port.
    pub fn direct(&self, service: &str) -> SocketAddr {
        *self.host.addresses().direct[service].as_ref().expect("the service's own port is bound")
    }

    /// The host's state folder.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A folder that goes with the shop.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Another such client, with connections of its own.
    pub fn new_client(&self) -> reqwest::Client {
        client(&certificate(&self.state_dir()), |builder| builder)
    }

    /// Another such client, for HTTP/1.1.
    pub fn http1(&self) -> reqwest::Client {
        client(&certificate(&self.state_dir()), reqwest::ClientBuilder::http1_only)
    }

    /// The operator's API.
    pub fn operator(&self) -> Operator {
        Operator::new(self.host.addresses().admin, &self.state_dir())
    }

    /// A running service.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn service(&self, name: &str) -> Arc<wasmyard::runtime::Service> {
        let services = self.host.platform().services();
        services.get(name).unwrap_or_else(|| panic!("no service {name}")).clone()
    }

    /// Stops the host, and gives what another one needs to go on where it stopped.
    pub async fn stop(self) -> TempDir {
        self.host.stop(&|_| {}).await;
        self.dir
    }
}

impl Deref for Shop {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

impl ShopBuilder {
    /// Changes the manifest before the start.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut Manifest) + 'static) -> Self {
        let before = self.change;
        self.change = Box::new(|manifest| {
            before(manifest);
            change(manifest);
        });
        self
    }

    /// A database that the test brings, e.g. through a proxy or on a server that it stops.
    #[must_use]
    pub fn postgres(mut self, url: impl Into<String>) -> Self {
        self.postgres_url = Some(url.into());
        self
    }

    /// A Redis that the test brings.
    #[must_use]
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.redis_url = Some(url.into());
        self
    }

    /// Goes on in the folder of a shop that was stopped.
    #[must_use]
    pub fn resume(mut self, dir: TempDir) -> Self {
        self.dir = Some(dir);
        self
    }

    /// The shop as it is outside the local form, where `local_auth` does not hold.
    #[must_use]
    pub fn tokens_required(self) -> Self {
        self.change(|manifest| {
            for service in manifest.services.values_mut() {
                service.routes.iter_mut().for_each(|route| route.auth.local_optional = false);
            }
        })
    }

    /// Adds a service.
    #[must_use]
    pub fn service(self, service: Service) -> Self {
        self.change(|manifest| {
            manifest.services.insert(service.name.clone(), service);
        })
    }

    /// Serves from a copy of the manifest, `wasmyard.toml` in the shop's folder, and of
    /// the components, `users.wasm` and so on beside it, so that the test may change
    /// them. What a test changes in the manifest before the start is not in the file.
    #[must_use]
    pub fn own_files(mut self) -> Self {
        self.own_files = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(self) -> Shop {
        self.try_start().await.unwrap_or_else(|error| panic!("the host does not start: {error:#}"))
    }

    /// Starts it, or says why the host does not start.
    ///
    /// # Errors
    /// Those of [`Host::start`].
    pub async fn try_start(self) -> anyhow::Result<Shop> {
        let dir = self.dir.unwrap_or_else(|| tempfile::tempdir().expect("a temporary folder"));
        let database = self.postgres_url.unwrap_or_else(|| TestPostgres::shared().database());
        let redis = self.redis_url.is_none().then(TestRedis::start);
        let redis_url = self.redis_url.or_else(|| redis.as_ref().map(TestRedis::url)).expect("one of both");

        let mut manifest = match self.own_files {
            true => own_manifest(dir.path(), &database, &redis_url),
            false => manifest(&database, &redis_url),
        };
        (self.change)(&mut manifest);
        let state_dir = dir.path().join("state");
        // Roles belong to a whole server, which the shops of a test process share; so they
        // share the secret that the roles' passwords are derived from.
        std::fs::create_dir_all(&state_dir).expect("the state folder");
        // Several hosts may be given one database, whose signing keys have one secret too.
        for secret in ["role-secret", "auth-key"] {
            std::fs::write(state_dir.join(secret), "0123456789abcdef".repeat(4)).expect("the secret");
        }

        let options = HostOptions { state_dir: state_dir.clone(), local: true };
        let host = Host::start(manifest.clone(), options, &|_| {}).await?;
        let client = client(&certificate(&state_dir), |builder| builder);
        let origin = format!("https://localhost:{}", host.addresses().https.port());
        let visitor = Visitor { origin, redis: redis.map(Arc::new), database, client };
        Ok(Shop { host, manifest, visitor, dir })
    }
}

/// The limits that routes have of their own: variables of the manifest, with their defaults.
const OWN_LIMITS: [&str; 6] = [
    "LOGINS_PER_MINUTE:-30",
    "LOGINS_AT_ONCE:-10",
    "REFRESHES_PER_MINUTE:-600",
    "REFRESHES_AT_ONCE:-100",
    "SIGNUPS_PER_MINUTE:-60",
    "SIGNUPS_AT_ONCE:-30",
];

/// The name of such a variable.
fn variable(limit: &str) -> String {
    format!("WASMYARD_{}", limit.split(':').next().unwrap_or_default())
}

/// The repository's manifest, with free ports and the components that the tests built.
fn manifest(database: &str, redis: &str) -> Manifest {
    let env = |name: &str| match name {
        "DATABASE_URL" => Some(database.to_owned()),
        "REDIS_URL" => Some(redis.to_owned()),
        "WASMYARD_HTTPS_PORT" | "WASMYARD_HTTP_PORT" | "WASMYARD_ADMIN_PORT" => Some("0".to_owned()),
        // All clients of a test are one to the host.
        _ => OWN_LIMITS.iter().any(|limit| name == variable(limit)).then(|| "100000".to_owned()),
    };
    let mut manifest =
        Manifest::load(&repository().join("wasmyard.toml"), &env).unwrap_or_else(|faults| panic!("{faults}"));
    for (name, service) in &mut manifest.services {
        if let Some((_, component)) = SHOP.iter().find(|(service, _)| service == name) {
            service.component = component.into();
        }
        if let Some(direct) = &mut service.direct {
            direct.port = 0;
        }
    }
    manifest
}

/// A copy of the repository's manifest in `dir`, with literal values where the process's
/// environment would matter: the host's watch reads it with that.
fn own_manifest(dir: &Path, database: &str, redis: &str) -> Manifest {
    let mut text = std::fs::read_to_string(repository().join("wasmyard.toml")).expect("the manifest");
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "the repository's manifest has no {from}");
        text = text.replace(from, to);
    };
    for name in ["HTTPS_PORT:-8443", "HTTP_PORT:-8081", "ADMIN_PORT:-9901"] {
        replace(&format!("\"${{WASMYARD_{name}}}\""), "0");
    }
    for port in [5000, 3000, 8080] {
        replace(&format!("\nport = {port}\n"), "\nport = 0\n");
    }
    for limit in OWN_LIMITS {
        replace(&format!("\"${{WASMYARD_{limit}}}\""), "100000");
    }
    replace("${DATABASE_URL:-}", database);
    replace("${REDIS_URL:-}", redis);
    let here = repository().display().to_string();
    for folder in ["\"migrations", "\"sample_data/", "folder = \"web"] {
        replace(folder, &folder.replace('"', &format!("\"{here}/")));
    }
    replace("${CARGO_TARGET_DIR:-target}/wasm32-wasip2/component/", "");
    for (service, component) in SHOP {
        let copy = dir.join(format!("{service}.wasm"));
        // A shop that goes on where another stopped keeps what that one had.
        if !copy.exists() {
            std::fs::copy(component, copy).expect("a copy of the component");
        }
    }
    let path = dir.join("wasmyard.toml");
    std::fs::write(&path, text).expect("a copy of the manifest");
    let env = |name: &str| std::env::var(name).ok();
    Manifest::load(&path, &env).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn certificate(state_dir: &Path) -> Vec<u8> {
    std::fs::read(state_dir.join("tls/self-signed.pem")).expect("the certificate was made")
}

/// A client that trusts a certificate, given as PEM, and no other.
///
/// # Panics
/// When it is no certificate.
pub fn client(
    pem: &[u8],
    form: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> reqwest::Client {
    // The first shop of a process sets it; the others find it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = reqwest::Certificate::from_pem(pem).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([certificate]);
    let client = form(client.redirect(reqwest::redirect::Policy::none())).build();
    client.expect("a client")
}
