//! What the platform costs beside the least that bare wasmtime takes for the same, with
//! the same engine, settings and guests.
//!
//! Both sides of a cost are measured in turn, three times over, so that a slower minute of
//! the machine meets both.

mod floor;
mod platform;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use criterion::{BenchmarkId, Criterion};
use tokio::runtime::Runtime;
use wasmtime::component::Component;
use wasmyard::manifest::Isolation;
use wasmyard::runtime::Engine;
use wasmyard::runtime::component::ComponentStore;
use wasmyard::testing::{FakeRedis, Harness};
use wasmyard_bench_platform::{guest, guest_path, variant};

use floor::{Instance, Linked};
use platform::{Services, ask};

/// How often both sides are measured in turn.
const ROUNDS: u32 = 3;
/// Calls out of a guest in one request: entering the guest is then a thousandth of it.
const CALLS: u32 = 1_000;
/// Instances of the engine for the floor; few are alive at once.
const INSTANCES: u32 = 64;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .without_plots()
        .configure_from_args();
    let costs = Costs::new()?;
    costs.components(&mut criterion)?;
    costs.guests(&mut criterion)?;
    costs.calls(&mut criterion)?;
    costs.swaps(&mut criterion)?;
    criterion.final_summary();
    report::report()
}

struct Costs {
    runtime: Runtime,
    engine: Engine,
    /// A component store that holds the code of `hello`.
    store: ComponentStore,
    code: PathBuf,
    hello: Vec<u8>,
    _folder: tempfile::TempDir,
}

impl Costs {
    fn new() -> anyhow::Result<Self> {
        let (folder, engine, hello) = (tempfile::tempdir()?, Engine::new(INSTANCES)?, guest("hello")?);
        let store = ComponentStore::new(engine.wasmtime(), folder.path())?;
        store.load(&hello)?;
        let code = std::fs::read_dir(folder.path().join("compiled"))?.flatten().next();
        let code = code.context("no compiled code was kept")?.path();
        Ok(Self { runtime: Runtime::new()?, engine, store, code, hello, _folder: folder })
    }

    /// Compiling, and loading what was compiled.
    fn components(&self, criterion: &mut Criterion) -> anyhow::Result<()> {
        let engine = self.engine.wasmtime();
        let mut mark = 0_u64;
        in_turn(
            criterion,
            "compile a component",
            timed(|| {
                mark += 1;
                self.store.load(&variant(&self.hello, &mark.to_string())).expect("a component")
            }),
            timed(|| Component::new(engine, &self.hello).expect("a component")),
        );
        in_turn(
            criterion,
            "load compiled code",
            timed(|| self.store.load(&self.hello).expect("compiled code")),
            timed(|| floor::load(engine, &self.code).expect("compiled code")),
        );
        Ok(())
    }

    /// Entering and leaving a guest, in an instance that is there and in a new one.
    fn guests(&self, criterion: &mut Criterion) -> anyhow::Result<()> {
        let request = floor::request("/hello", "");
        let hello = self.link("hello")?;
        for (cost, isolation) in [
            ("guest entered and left", Isolation::Instance),
            ("the same in a fresh instance", Isolation::Request),
        ] {
            let harness = Harness::component(guest_path("hello")).routes(["/hello"]).isolation(isolation);
            let harness = self.runtime.block_on(harness.start())?;
            let mut warm = self.instantiate(&hello, None)?;
            in_turn(
                criterion,
                cost,
                self.awaited(async || drop(harness.get("/hello").await.expect("an answer"))),
                self.awaited(async || {
                    let mut fresh;
                    let instance = match isolation {
                        Isolation::Instance => &mut warm,
                        Isolation::Request => {
                            fresh = hello.instantiate(None).await.expect("an instance");
                            &mut fresh
                        }
                    };
                    drop(instance.handle(&request).await.expect("an answer"));
                }),
            );
        }
        Ok(())
    }

    /// Calls out of a guest: to a host function that answers at once, and to another
    /// service.
    fn calls(&self, criterion: &mut Criterion) -> anyhow::Result<()> {
        let (hello, caller) = (self.link("hello")?, self.link("caller")?);
        let redis = FakeRedis::new();
        redis.put("caller:1", "{}", None);
        let harness = Harness::component(guest_path("caller"))
            .routes(["/calls/host"])
            .redis(redis)
            // The component imports it, and does not use it here.
            .grants(|grants| grants.services.push("hello".to_owned()));
        let harness = self.runtime.block_on(harness.start())?;
        let mut bare = self.instantiate(&caller, None)?;
        let request = floor::request("/calls/host", &CALLS.to_string());
        let path = format!("/calls/host?{CALLS}");
        in_turn(
            criterion,
            "call of a host function",
            per_call(self.awaited(async || drop(harness.get(&path).await.expect("an answer")))),
            per_call(self.awaited(async || drop(bare.handle(&request).await.expect("an answer")))),
        );

        let services = self.runtime.block_on(Services::start())?;
        let peer = self.instantiate(&hello, None)?;
        let mut bare = self.instantiate(&caller, Some(peer))?;
        let request = floor::request("/calls/service", &CALLS.to_string());
        in_turn(
            criterion,
            "call between two services",
            per_call(self.awaited(async || {
                let answer = services.caller.handle(ask("/calls/service?1000")).await;
                assert_eq!(answer.expect("an answer").response.status, 204);
            })),
            per_call(self.awaited(async || {
                assert_eq!(bare.handle(&request).await.expect("an answer").status, 204);
            })),
        );
        Ok(())
    }

    /// Deploy and rollback until the other version answers. The floor of both is to load
    /// the code, link it, make an instance and enter it.
    fn swaps(&self, criterion: &mut Criterion) -> anyhow::Result<()> {
        let request = floor::request("/hello", "");
        let until_it_answers = || {
            self.awaited(async || {
                let component = floor::load(self.engine.wasmtime(), &self.code).expect("compiled code");
                let linked = Linked::new(self.engine.wasmtime(), &component).expect("a component");
                let mut instance = linked.instantiate(None).await.expect("an instance");
                drop(instance.handle(&request).await.expect("an answer"));
            })
        };
        let services = self.runtime.block_on(Services::start())?;
        // The second of the two serves at first.
        let mut version = 1;
        in_turn(
            criterion,
            "deploy until it answers",
            |times| {
                let swaps = (0..times).map(|_| {
                    version += 1;
                    self.runtime.block_on(services.until_swapped(services.deploy(version)))
                });
                swaps.sum()
            },
            until_it_answers(),
        );
        let other = version + 1;
        in_turn(
            criterion,
            "rollback until it answers",
            |times| {
                let swaps = (0..times).map(|_| {
                    self.runtime.block_on(async {
                        services.deploy(other).await.expect("a deploy");
                        services.until_swapped(services.rollback()).await
                    })
                });
                swaps.sum()
            },
            until_it_answers(),
        );
        Ok(())
    }

    fn link(&self, name: &str) -> anyhow::Result<Linked> {
        let engine = self.engine.wasmtime();
        let component = Component::new(engine, guest(name)?).map_err(floor::opaque)?;
        Linked::new(engine, &component).map_err(floor::opaque)
    }

    fn instantiate(&self, linked: &Linked, peer: Option<Instance>) -> anyhow::Result<Instance> {
        self.runtime.block_on(linked.instantiate(peer)).map_err(floor::opaque)
    }

    /// The time of so many turns, one after another.
    fn awaited(&self, mut work: impl AsyncFnMut()) -> impl FnMut(u64) -> Duration {
        move |times| {
            self.runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..times {
                    work().await;
                }
                begun.elapsed()
            })
        }
    }
}

/// Measures both sides of a cost, one after the other, again and again.
fn in_turn(
    criterion: &mut Criterion,
    cost: &str,
    mut wasmyard: impl FnMut(u64) -> Duration,
    mut floor: impl FnMut(u64) -> Duration,
) {
    let mut group = criterion.benchmark_group(cost);
    for round in 1..=ROUNDS {
        group.bench_function(BenchmarkId::new(report::WASMYARD, round), |bencher| {
            bencher.iter_custom(&mut wasmyard);
        });
        group.bench_function(BenchmarkId::new(report::FLOOR, round), |bencher| {
            bencher.iter_custom(&mut floor);
        });
    }
    group.finish();
}

fn timed<T>(mut work: impl FnMut() -> T) -> impl FnMut(u64) -> Duration {
    move |times| {
        let begun = Instant::now();
        for _ in 0..times {
            drop(work());
        }
        begun.elapsed()
    }
}

/// The time of one of the calls that one turn makes.
fn per_call(mut turns: impl FnMut(u64) -> Duration) -> impl FnMut(u64) -> Duration {
    move |times| turns(times) / CALLS
}
