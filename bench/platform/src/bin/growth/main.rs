//! One host with 1, 10, 100 and 1,000 services, each a component of its own digest with a
//! route of its own: memory at rest, time to start, time to deploy one, and how fast the
//! one busy service is among the idle ones.
//!
//! All hosts run side by side and take their turns at the load generator, so that a
//! slower minute of the machine meets each of them.

mod chart;
mod load;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use serde::Serialize;
use serde_json::Value;
use wasmyard_bench::cores::Cores;
use wasmyard_bench::sample::median;
use wasmyard_bench_platform::{
    HostProcess, Launch, guest, print_table, target_dir, variant, workspace, write_json,
};

/// Services in each host.
const SIZES: [usize; 4] = [1, 10, 100, 1_000];
/// How long idle instances may take to be dropped: the host keeps them for 30 s and looks
/// every 5.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// Measures how a host grows with the number of its services
#[derive(Parser)]
struct Options {
    /// Rounds; in each one every host is under load once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each turn
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

/// What was measured of one host.
#[derive(Serialize)]
struct Growth {
    services: usize,
    /// The first start, which compiles each component.
    start_compiling_ms: f64,
    /// A start with the compiled code on disk, until the host says that it serves.
    start_ms: f64,
    /// What no file stands for, after the start: each service has one warm instance.
    memory_started_mib: f64,
    /// The same when the idle instances have been dropped.
    memory_rest_mib: f64,
    /// All resident memory then, compiled code included.
    resident_rest_mib: f64,
    /// A version whose code is on disk, in the host, until it serves: median.
    deploy_ms: f64,
    /// Of the busy service: medians of the rounds.
    requests_per_second: f64,
    p99_ms: f64,
    cpu_us_per_request: f64,
}

struct Host {
    folder: PathBuf,
    process: HostProcess,
    growth: Growth,
    turns: Vec<load::Turn>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // The hosts that are started from here have all cores but the load generator's.
    let cores = Cores::share()?;
    let folder = target_dir().join("bench-growth");
    let mut hosts = Vec::new();
    for services in SIZES {
        eprintln!("{services} services: compiling and starting");
        hosts.push(start(&folder.join(services.to_string()), services)?);
    }
    for host in &mut hosts {
        eprintln!("{} services: coming to rest", host.growth.services);
        rest(host)?;
        host.growth.deploy_ms = deploy(host)?;
    }
    for round in 1..=options.rounds {
        eprintln!("load, round {round} of {}", options.rounds);
        for host in &mut hosts {
            host.turns.push(load::turn(&host.process, &cores, options.seconds)?);
        }
    }
    let mut grown = Vec::new();
    for Host { process, mut growth, turns, .. } in hosts {
        process.process.stop()?;
        let middle = |figure: fn(&load::Turn) -> f64| {
            median(&turns.iter().map(figure).collect::<Vec<_>>()).context("no round at all")
        };
        growth.requests_per_second = middle(|turn| turn.requests_per_second)?;
        growth.p99_ms = middle(|turn| turn.p99_ms)?;
        growth.cpu_us_per_request = middle(|turn| turn.cpu_us_per_request)?;
        grown.push(growth);
    }
    report(&grown)
}

fn start(folder: &Path, services: usize) -> anyhow::Result<Host> {
    // What an earlier run left would make the first start no first one.
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder)?;
    write_host(folder, services)?;
    let launch = Launch {
        program: target_dir().join("release/wasmyard"),
        wrapper: Vec::new(),
        manifest: folder.join("wasmyard.toml"),
        local: false,
        env: vec![("WASMYARD_LOG".into(), "warn,access=off".into())],
    };
    let first = launch.start()?;
    let start_compiling_ms = milliseconds(first.ready_after);
    first.process.stop()?;
    let process = launch.start()?;
    let growth = Growth {
        services,
        start_compiling_ms,
        start_ms: milliseconds(process.ready_after),
        memory_started_mib: mib(process.process.memory()?.anonymous_kib),
        memory_rest_mib: 0.0,
        resident_rest_mib: 0.0,
        deploy_ms: 0.0,
        requests_per_second: 0.0,
        p99_ms: 0.0,
        cpu_us_per_request: 0.0,
    };
    Ok(Host { folder: folder.to_owned(), process, growth, turns: Vec::new() })
}

fn write_host(folder: &Path, services: usize) -> anyhow::Result<()> {
    let hello = guest("hello")?;
    let mut manifest = "[server]\nhttps_port = 0\nhttp_port = false\n[admin]\nport = 0\n".to_owned();
    for n in 0..services {
        std::fs::write(folder.join(format!("s{n}.wasm")), variant(&hello, &n.to_string()))?;
        manifest.push_str(&format!(
            "[services.s{n}]\ncomponent = \"s{n}.wasm\"\nroutes = [{{ path = \"/s{n}\", methods = [\"GET\"] }}]\n\
             grants = {{ log = true }}\n"
        ));
    }
    std::fs::write(folder.join("wasmyard.toml"), manifest)?;
    std::fs::write(folder.join("new.wasm"), variant(&hello, "new"))?;
    Ok(())
}

/// Waits until the host has dropped its idle instances, and reads its memory.
fn rest(host: &mut Host) -> anyhow::Result<()> {
    let give_up = Instant::now() + IDLE_WAIT;
    loop {
        let status = wasmyard(&host.folder, &["status"])?;
        let services = status["services"].as_array().context("a status without services")?;
        if services.iter().all(|service| service["instances"]["warm"] == 0) {
            break;
        }
        ensure!(Instant::now() < give_up, "the idle instances are not dropped");
        std::thread::sleep(Duration::from_secs(1));
    }
    let memory = host.process.process.memory()?;
    host.growth.memory_rest_mib = mib(memory.anonymous_kib);
    host.growth.resident_rest_mib = mib(memory.rss_kib);
    Ok(())
}

/// The median of several deploys of versions whose code is on disk.
fn deploy(host: &Host) -> anyhow::Result<f64> {
    let mut took = Vec::new();
    for turn in 0..8 {
        let file = if turn % 2 == 0 { "new.wasm" } else { "s0.wasm" };
        let file = host.folder.join(file);
        let report =
            wasmyard(&host.folder, &["deploy", "s0", file.to_str().context("a path that is no text")?])?;
        took.push(report["swap_ms"].as_f64().context("a report without a time")?);
    }
    // The first one compiles.
    median(&took[1..]).context("no deploy")
}

fn wasmyard(folder: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let program = target_dir().join("release/wasmyard");
    let ran = Command::new(program).arg("--json").args(arguments).current_dir(folder).output()?;
    if !ran.status.success() {
        bail!("wasmyard {}: {}", arguments.join(" "), String::from_utf8_lossy(&ran.stdout));
    }
    Ok(serde_json::from_slice(&ran.stdout)?)
}

fn report(grown: &[Growth]) -> anyhow::Result<()> {
    let rows = grown.iter().map(|growth| {
        [
            growth.services.to_string(),
            format!("{:.0}", growth.start_compiling_ms),
            format!("{:.0}", growth.start_ms),
            format!("{:.1}", growth.memory_started_mib),
            format!("{:.1}", growth.memory_rest_mib),
            format!("{:.1}", growth.resident_rest_mib),
            format!("{:.1}", growth.deploy_ms),
            format!("{:.0}", growth.requests_per_second),
            format!("{:.2}", growth.p99_ms),
            format!("{:.1}", growth.cpu_us_per_request),
        ]
    });
    print_table(
        [
            "SERVICES",
            "FIRST START ms",
            "START ms",
            "STARTED MiB",
            "AT REST MiB",
            "WITH CODE MiB",
            "DEPLOY ms",
            "REQ/S",
            "P99 ms",
            "CPU µs",
        ],
        rows,
    );
    let (Some(one), Some(most)) = (grown.first(), grown.last()) else { bail!("nothing was measured") };
    let others = (most.services - one.services) as f64;
    let ratio = most.requests_per_second / one.requests_per_second;
    let idle_kib = (most.memory_rest_mib - one.memory_rest_mib) / others * 1024.0;
    println!("\nthe busy service among {}, over alone: {ratio:.2} (target: at least 0.90)", most.services);
    println!("an idle service beyond its code: {idle_kib:.0} KiB (target: at most 1,024)");
    let path = write_json(
        "growth",
        &serde_json::json!({ "hosts": grown, "busy_ratio": ratio, "idle_service_kib": idle_kib }),
    )?;
    let svg = workspace().join("bench/results/growth.svg");
    chart::draw(&svg, grown)?;
    println!("written: {}, {}", path.display(), svg.display());
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
