//! Instructions per request, counted by callgrind: the same on a busy machine and on an
//! idle one, so that CI can hold them to what they were.
//!
//! The host runs as users run it, with one worker thread and without a log. One client
//! asks for the same thing again and again over one connection. After a warm-up the
//! counter is read after each of several batches. Timers (the engine's clock, the watch on
//! files, the probe of Redis) can only add to a batch, so the smallest one counts.
//!
//! Counts are for the processor that valgrind presents, which is the same on every x86-64
//! machine with AVX2: libraries that choose their code by the processor's features, and
//! the compiler of guests, choose the same everywhere. A machine of another kind has
//! figures of its own, under its own name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Parser;
use serde::{Deserialize, Serialize};
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_bench_platform::{Client, HostProcess, Launch, print_table, target_dir, workspace};

/// Requests before the first one that is counted: enough for each pool, each table and
/// each cache on the way to have its size.
const WARM_UP: usize = 200;
/// Requests in a batch.
const BATCH: usize = 100;
/// Batches; the smallest counts.
const BATCHES: usize = 7;
/// More than this over the stored figure fails, so much less asks for a new one.
const TOLERANCE: f64 = 0.05;

/// What is counted: a name, the service, and the path on its own port.
const PATHS: [(&str, &str, &str); 5] = [
    ("guest entered and left", "hello", "/hello"),
    ("fresh instance", "fresh", "/fresh"),
    ("item from cache, by the guest", "users", "/api/v1/users/1"),
    ("list from cache, by the host", "products", "/api/v1/products"),
    ("the same, under a rate limit", "limited", "/api/v1/products"),
];

/// Counts instructions per request and compares them with the stored figures
#[derive(Parser)]
struct Options {
    /// Store what is counted as the new figures
    #[arg(long)]
    accept: bool,
    /// Also write where the instructions go, one file for each path, into this folder
    #[arg(long, value_name = "FOLDER")]
    profile: Option<PathBuf>,
}

/// The stored figures, by what was counted.
#[derive(Serialize, Deserialize, Default)]
struct Stored {
    instructions_per_request: BTreeMap<String, u64>,
}

/// One path's batches, in instructions per request, smallest first.
struct Count {
    name: &'static str,
    batches: Vec<u64>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = target_dir().join("bench-count");
    std::fs::create_dir_all(&folder)?;
    let (postgres, redis) = (TestPostgres::start(), TestRedis::start());
    let host = launch(&folder, &postgres.database(), &redis.url())?.start()?;
    instrument(&host)?;
    let counts = PATHS.iter().map(|path| count(&host, &folder, *path, options.profile.as_deref()));
    let counts = counts.collect::<anyhow::Result<Vec<_>>>()?;
    host.process.stop()?;
    compare(&counts, options.accept)
}

fn launch(folder: &Path, database: &str, redis: &str) -> anyhow::Result<Launch> {
    let manifest = folder.join("wasmyard.toml");
    std::fs::write(&manifest, manifest_text())?;
    let dump = format!("--callgrind-out-file={}", folder.join("dump").display());
    let env = [
        ("DATABASE_URL", database),
        ("REDIS_URL", redis),
        ("WASMYARD_LOG", "off"),
        // With two workers it would depend on the scheduler who wakes whom.
        ("TOKIO_WORKER_THREADS", "1"),
    ];
    Ok(Launch {
        program: target_dir().join("release/wasmyard"),
        wrapper: ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", &dump]
            .map(str::to_owned)
            .into(),
        manifest,
        local: true,
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    })
}

/// Valgrind gives a process 128 GiB of address space, so there is room for a few
/// instances only; one at a time is used.
fn manifest_text() -> String {
    let root = workspace().display();
    let guests = target_dir().join("wasm32-wasip2/component");
    let guests = guests.display();
    format!(
        r#"
[server]
https_port = 0
http_port = false
[admin]
port = 0
[runtime]
instances_max = 8
[postgres]
url = "${{DATABASE_URL}}"
migrations = "{root}/migrations"
sample_data = "{root}/sample_data/shop.sql"
[redis]
url = "${{REDIS_URL}}"

[services.hello]
component = "{guests}/hello.wasm"
routes = [{{ path = "/hello", methods = ["GET"] }}]
direct = {{ port = 0 }}
grants = {{ log = true }}

[services.fresh]
component = "{guests}/hello.wasm"
isolation = "request"
routes = [{{ path = "/fresh", methods = ["GET"] }}]
direct = {{ port = 0 }}
grants = {{ log = true }}

[services.users]
component = "{guests}/users.wasm"
routes = [{{ path = "/api/v1/users/{{id}}", methods = ["GET"] }}]
direct = {{ port = 0 }}
[services.users.grants]
log = true
stats = true
auth = true
postgres = {{ role = "users_service" }}
redis = {{ keys = ["users:*"] }}
cache = {{ keys = ["users:*"] }}

[services.products]
component = "{guests}/products.wasm"
routes = [{{ path = "/api/v1/products", methods = ["GET"], cache = "products:all" }}]
direct = {{ port = 0 }}
[services.products.grants]
log = true
stats = true
postgres = {{ role = "products_service" }}
redis = {{ keys = ["products:*"] }}
cache = {{ keys = ["products:*"] }}

[services.limited]
component = "{guests}/products.wasm"
routes = [{{ path = "/limited", methods = ["GET"] }}]
rate_limit = {{ requests = 100000, per = "1s", burst = 10000000 }}
[services.limited.direct]
port = 0
routes = [{{ path = "/api/v1/products", methods = ["GET"], cache = "products:all" }}]
[services.limited.grants]
log = true
stats = true
postgres = {{ role = "products_service" }}
redis = {{ keys = ["products:*"] }}
cache = {{ keys = ["products:*"] }}
"#
    )
}

fn count(
    host: &HostProcess,
    folder: &Path,
    (name, service, path): (&'static str, &str, &str),
    profile: Option<&Path>,
) -> anyhow::Result<Count> {
    let mut client = Client::connect(host.direct_port(service)?)?;
    let mut ask = |times: usize| (0..times).try_for_each(|_| client.get(path).map(drop));
    ask(WARM_UP)?;
    let dump = folder.join(format!("dump.{service}"));
    let mut batches = Vec::new();
    read_counter(host, folder, &dump)?;
    for _ in 0..BATCHES {
        ask(BATCH)?;
        batches.push(read_counter(host, folder, &dump)? / BATCH as u64);
    }
    batches.sort_unstable();
    if let Some(profile) = profile {
        std::fs::create_dir_all(profile)?;
        annotate(&dump, &profile.join(format!("{}.txt", name.replace(' ', "-"))))?;
    }
    Ok(Count { name, batches })
}

/// Counting is off while the host starts, which would take minutes with it.
fn instrument(host: &HostProcess) -> anyhow::Result<()> {
    control(host, "--instr=on")
}

/// The instructions since the counter was read the last time; callgrind's dump of them
/// becomes the file `dump`.
fn read_counter(host: &HostProcess, folder: &Path, dump: &Path) -> anyhow::Result<u64> {
    control(host, "--dump")?;
    let newest = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).find(|path| {
        let name =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("dump."));
        name.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let newest = newest.context("callgrind has dumped nothing")?;
    let text = std::fs::read_to_string(&newest)?;
    let summary =
        text.lines().find_map(|line| line.strip_prefix("summary: ")).context("a dump without a summary")?;
    let total = summary.trim().parse()?;
    std::fs::rename(newest, dump)?;
    Ok(total)
}

fn control(host: &HostProcess, command: &str) -> anyhow::Result<()> {
    let ran = Command::new("callgrind_control").arg(command).arg(host.process.id().to_string()).output()?;
    if !ran.status.success() {
        bail!("callgrind_control {command}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    Ok(())
}

fn annotate(dump: &Path, to: &Path) -> anyhow::Result<()> {
    let mut text = String::new();
    for (title, inclusive) in
        [("Its own instructions", "--inclusive=no"), ("With what it calls", "--inclusive=yes")]
    {
        let arguments = [inclusive, "--threshold=100", "--auto=no", "--show-percs=yes"];
        let ran = Command::new("callgrind_annotate").args(arguments).arg(dump).output()?;
        let lines = String::from_utf8_lossy(&ran.stdout).into_owned();
        text.push_str(&format!("== {title}, of {BATCH} requests ==\n"));
        lines.lines().filter(|line| line.contains('%')).take(120).for_each(|line| {
            text.push_str(line);
            text.push('\n');
        });
    }
    std::fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

/// Prints old and new figures.
///
/// # Errors
/// One has grown, or was never stored.
fn compare(counts: &[Count], accept: bool) -> anyhow::Result<()> {
    let path = workspace().join(format!("bench/counts/{}.json", std::env::consts::ARCH));
    let stored: Stored = match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?
        }
        Err(_) => Stored::default(),
    };
    let mut faults = Vec::new();
    let mut rows = Vec::new();
    for Count { name, batches } in counts {
        let new = batches[0];
        let old = stored.instructions_per_request.get(*name).copied();
        let change = old.map(|old| new as f64 / old as f64 - 1.0);
        let percent = change.map_or_else(|| "-".to_owned(), |change| format!("{:+.1} %", change * 100.0));
        match change {
            None => faults.push(format!("{name}: no figure is stored")),
            Some(grown) if grown > TOLERANCE => {
                faults.push(format!(
                    "{name}: from {} to {new} instructions a request, {percent}",
                    old.unwrap_or_default()
                ));
            }
            Some(shrunk) if shrunk < -TOLERANCE => {
                println!(
                    "{name}: {percent}. Store the new figure, so that it stays: make bench-count ACCEPT=1"
                );
            }
            Some(_) => {}
        }
        let spread = batches[batches.len() / 2] as f64 / new as f64 - 1.0;
        rows.push([
            (*name).to_owned(),
            old.map_or_else(|| "-".to_owned(), |old| old.to_string()),
            new.to_string(),
            percent,
            format!("{:.2} %", spread * 100.0),
        ]);
    }
    print_table(["INSTRUCTIONS A REQUEST", "STORED", "NOW", "CHANGE", "MEDIAN OVER SMALLEST"], rows);
    if accept {
        let figures = counts.iter().map(|count| (count.name.to_owned(), count.batches[0])).collect();
        let text = serde_json::to_string_pretty(&Stored { instructions_per_request: figures })? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("stored in {}", path.display());
        return Ok(());
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{}\nIf that is meant to be so: make bench-count ACCEPT=1", faults.join("\n"))
}
