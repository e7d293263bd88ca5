//! The two systems, on the same fresh backends.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;
use wasmyard::testing::servers::{TestPostgres, TestRedis};

use crate::data;
use crate::manifest::{self, Near, Places};
use wasmyard_bench::process::Process;

/// Everything that runs. What is dropped first stands first.
pub(crate) struct Systems {
    /// Wasmyard as it is.
    pub(crate) wasmyard: Wasmyard,
    /// Wasmyard that asks Redis each time; `None` when this host has no near cache.
    far: Option<Wasmyard>,
    /// The native peer.
    pub(crate) native: Native,
    pub(crate) redis: TestRedis,
    _postgres: TestPostgres,
    _folder: TempDir,
}

/// A running host.
pub(crate) struct Wasmyard {
    pub(crate) process: Process,
    pub(crate) admin: SocketAddr,
    pub(crate) https: SocketAddr,
    direct: BTreeMap<String, u16>,
}

/// The running native peer.
pub(crate) struct Native {
    pub(crate) process: Process,
    pub(crate) http: String,
    pub(crate) https: String,
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The folder that cargo builds into.
    pub(crate) target: PathBuf,
    /// The repository's root.
    pub(crate) repository: PathBuf,
}

impl Systems {
    /// Starts both, and fills the database.
    ///
    /// # Errors
    ///
    /// Something is not built, or does not start.
    ///
    /// # Panics
    ///
    /// Postgres or Redis does not start.
    pub(crate) fn start(programs: &Programs, say: impl Fn(&str)) -> Result<Self> {
        say("starting a Postgres and a Redis");
        let postgres = TestPostgres::start();
        let redis = TestRedis::start();
        let database = postgres.database();
        let folder = tempfile::tempdir()?;
        let places = Places {
            repository: &programs.repository,
            components: &programs.target.join("wasm32-wasip2/component"),
            postgres: &database,
            redis: &redis.url(),
        };
        let host = |name: &str, near: Near| -> Result<Wasmyard> {
            let folder = folder.path().join(name);
            let manifest = manifest::write(&places, near)?;
            Wasmyard::start(&programs.release("wasmyard"), &folder, &manifest)
                .with_context(|| format!("wasmyard ({name})"))
        };
        say("starting Wasmyard");
        let wasmyard = host("wasmyard", Near::Default)?;
        let far = match host("far", Near::Off) {
            Ok(far) => Some(far),
            // A host from before there was one; `table.rs` tells what that means.
            Err(error) if format!("{error:#}").contains("unknown key `near_kib`") => None,
            Err(error) => return Err(error),
        };
        say("loading users, products and orders");
        let name = database.rsplit('/').next().context("the database's name")?;
        data::load(&postgres, name);
        say("starting the native peer");
        let log = folder.path().join("native.log");
        let native = Native::start(&programs.release("native-shop"), &log, &database, &redis.url())?;
        Ok(Self { wasmyard, far, native, redis, _postgres: postgres, _folder: folder })
    }

    /// Whether the host has a near cache at all.
    pub(crate) fn has_near(&self) -> bool {
        self.far.is_some()
    }

    /// The host that asks Redis each time: the first one, where there is no near cache.
    pub(crate) fn far(&self) -> &Wasmyard {
        self.far.as_ref().unwrap_or(&self.wasmyard)
    }

    /// Empties the cache of both.
    pub(crate) fn empty_cache(&self) {
        self.redis.cli(&["FLUSHALL"]);
    }

    /// Processor time of Redis so far, in seconds.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub(crate) fn redis_cpu(&self) -> Result<f64> {
        let told = self.redis.cli(&["INFO", "cpu"]);
        let seconds = |label: &str| -> Result<f64> {
            let line = told.lines().find_map(|line| line.trim().strip_prefix(label)).context("INFO cpu")?;
            Ok(line.parse()?)
        };
        Ok(seconds("used_cpu_user:")? + seconds("used_cpu_sys:")?)
    }
}

impl Programs {
    fn release(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }
}

impl Wasmyard {
    fn start(program: &Path, folder: &Path, manifest: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Ready {
            https: SocketAddr,
            admin: SocketAddr,
            services: Vec<Service>,
            warnings: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Service {
            name: String,
            version: Option<String>,
            direct_port: Option<u16>,
        }

        let state = folder.join(".wasmyard");
        std::fs::create_dir_all(&state)?;
        // Roles belong to the database, which the hosts share: so do their passwords.
        for secret in ["role-secret", "auth-key"] {
            std::fs::write(state.join(secret), "0123456789abcdef".repeat(4))?;
        }
        let path = folder.join("wasmyard.toml");
        std::fs::File::create(&path)?.write_all(manifest.as_bytes())?;
        let (process, printed) = Process::start(program.as_os_str(), Some(&folder.join("log")), |command| {
            command.args(["--json", "--manifest"]).arg(&path).args(["up", "--local"]);
            command.env("WASMYARD_LOG", "warn,access=off");
            // Both hosts have one database, and the keys in it are encrypted.
            command.env("WASMYARD_AUTH_KEY", "0123456789abcdef".repeat(4));
        })?;
        let mut told = serde_json::Deserializer::from_reader(printed).into_iter::<serde_json::Value>();
        let told = told.next().context("it did not start")??;
        let ready: Ready = serde_json::from_value(told.clone()).with_context(|| told.to_string())?;
        let mut direct = BTreeMap::new();
        for service in ready.services {
            let (Some(_), Some(port)) = (service.version, service.direct_port) else {
                bail!("{} is down: {}", service.name, ready.warnings.join("; "));
            };
            direct.insert(service.name, port);
        }
        Ok(Self { process, admin: ready.admin, https: ready.https, direct })
    }

    /// The address of a path at a service's own port.
    ///
    /// # Errors
    ///
    /// There is no such service.
    pub(crate) fn url(&self, service: &str, path: &str) -> Result<String> {
        let port = self.direct.get(service).with_context(|| format!("no service {service}"))?;
        Ok(format!("http://127.0.0.1:{port}{path}"))
    }
}

impl Native {
    fn start(program: &Path, log: &Path, postgres: &str, redis: &str) -> Result<Self> {
        let (process, printed) = Process::start(program.as_os_str(), Some(log), |command| {
            command.env("DATABASE_URL", postgres).env("REDIS_URL", redis);
        })?;
        let mut lines = BufReader::new(printed).lines();
        let mut line = || -> Result<String> { Ok(lines.next().context("the native peer did not start")??) };
        Ok(Self { process, http: line()?, https: line()? })
    }
}
