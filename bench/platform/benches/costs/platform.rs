//! The running services of a whole host, without its sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;
use wasmyard::admin::api::Way;
use wasmyard::manifest::Manifest;
use wasmyard::platform::{Backends, Platform};
use wasmyard::runtime::{Request, RequestId, Service};
use wasmyard_bench_platform::{guest, variant};

/// `hello`, and `caller` that may call it.
pub(crate) struct Services {
    _folder: TempDir,
    _platform: Arc<Platform>,
    pub(crate) hello: Arc<Service>,
    pub(crate) caller: Arc<Service>,
    versions: [Vec<u8>; 2],
}

impl Services {
    /// Starts both.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let hello = guest("hello")?;
        std::fs::write(folder.path().join("hello.wasm"), &hello)?;
        std::fs::write(folder.path().join("caller.wasm"), guest("caller")?)?;
        let manifest = r#"
            [services.hello]
            component = "hello.wasm"
            routes = [{ path = "/hello", methods = ["GET"] }]
            grants = { log = true }
            [services.caller]
            component = "caller.wasm"
            routes = [{ path = "/calls/service", methods = ["GET"] }]
            grants = { log = true, services = ["hello"], redis = { keys = ["caller:*"] } }
            "#;
        let manifest = Manifest::parse(manifest, &folder.path().join("wasmyard.toml"), &|_| None)?;
        // Nothing asks this Redis anything; it need not be there.
        let backends = Backends::new(None, Some("redis://127.0.0.1:1"), Vec::new())?;
        let platform =
            Platform::start(manifest, &folder.path().join("state"), backends, false, &|_| {}).await?;
        let service = |name| platform.services().get(name).cloned().context("a service of the manifest");
        let (hello_service, caller) = (service("hello")?, service("caller")?);
        let versions = [variant(&hello, "a"), variant(&hello, "b")];
        let services = Self { _folder: folder, _platform: platform, hello: hello_service, caller, versions };
        for version in 0..2 {
            services.deploy(version).await?;
        }
        Ok(services)
    }

    /// Deploys one of two versions that differ in their digest.
    pub(crate) async fn deploy(&self, version: usize) -> anyhow::Result<()> {
        let bytes = self.versions[version % 2].clone().into();
        self.hello.deploy(bytes, Way::Deploy).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        Ok(())
    }

    /// Goes back to the version before.
    pub(crate) async fn rollback(&self) -> anyhow::Result<()> {
        self.hello.rollback().await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        Ok(())
    }

    /// How long it takes until another version answers than before. The choice is written
    /// down after the swap, and is not waited for.
    pub(crate) async fn until_swapped(&self, change: impl Future<Output = anyhow::Result<()>>) -> Duration {
        let before = self.answering().await.expect("an answer");
        let begun = Instant::now();
        let answers = async {
            while self.answering().await.expect("an answer") == before {
                tokio::task::yield_now().await;
            }
            begun.elapsed()
        };
        let (changed, took) = tokio::join!(change, answers);
        changed.expect("a swap");
        took
    }

    /// The version that gives the next answer.
    pub(crate) async fn answering(&self) -> anyhow::Result<Arc<str>> {
        let answer = self.hello.handle(ask("/hello")).await;
        Ok(answer.map_err(|failure| anyhow::anyhow!("{failure}"))?.version.label.clone())
    }
}

/// A request as the gateway makes one.
pub(crate) fn ask(target: &'static str) -> Request {
    let route = target.split('?').next().unwrap_or(target);
    let mut request = Request::get(target, RequestId::new(), Instant::now() + Duration::from_secs(5));
    request.route = route.into();
    request
}
