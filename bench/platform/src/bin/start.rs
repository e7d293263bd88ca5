//! From the start of the `wasmyard` program until the shop serves, with the compiled code
//! on disk and both backends up; and where the time goes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_bench_platform::{print_table, target_dir, workspace, write_json};

/// What the program does before it says its first step.
const BEFORE: &str = "(process, manifest)";
const SERVING: &str = "Serving at";
const TARGET: Duration = Duration::from_millis(300);

/// Measures a start of the shop
#[derive(Parser)]
struct Options {
    /// Starts that are measured, after one that is not
    #[arg(long, default_value_t = 11)]
    starts: usize,
}

/// The steps of one start, in order, each with its time.
type Steps = Vec<(String, Duration)>;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = target_dir().join("bench-start");
    std::fs::create_dir_all(&folder)?;
    let manifest = folder.join("wasmyard.toml");
    std::fs::write(&manifest, shop()?)?;
    let (postgres, redis) = (TestPostgres::start(), TestRedis::start());
    let database = postgres.database();
    let start = || start(&manifest, &database, &redis.url());

    // Compiles, migrates, and makes the certificate.
    start()?;
    let starts = (0..options.starts).map(|_| start()).collect::<anyhow::Result<Vec<_>>>()?;
    report(&starts)
}

/// The shop's own manifest, with the repository's paths made absolute and ports that
/// nobody has.
fn shop() -> anyhow::Result<String> {
    let text = std::fs::read_to_string(workspace().join("wasmyard.toml"))?;
    let root = workspace().display();
    Ok(text
        .replace("\"migrations\"", &format!("\"{root}/migrations\""))
        .replace("\"sample_data/", &format!("\"{root}/sample_data/"))
        .replace("\"web\"", &format!("\"{root}/web\"")))
}

fn start(manifest: &Path, database: &str, redis: &str) -> anyhow::Result<Steps> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(target_dir().join("release/wasmyard"));
    command.arg("--manifest").arg(manifest).arg("up").stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer);
    command.env("DATABASE_URL", database).env("REDIS_URL", redis).env("CARGO_TARGET_DIR", target_dir());
    for port in ["WASMYARD_HTTPS_PORT", "WASMYARD_HTTP_PORT", "WASMYARD_ADMIN_PORT"] {
        command.env(port, "0");
    }
    let begun = Instant::now();
    let mut child = command.spawn().context("cannot start wasmyard; `make build` makes it")?;
    // Else the pipe never ends.
    drop(command);
    let mut lines = BufReader::new(reader).lines();
    let mut steps: Steps = Vec::new();
    let (mut step, mut since) = (BEFORE.to_owned(), begun);
    let served = loop {
        let Some(line) = lines.next().transpose()? else { break false };
        if line.is_empty() {
            continue;
        }
        let now = Instant::now();
        steps.push((std::mem::replace(&mut step, line.clone()), now - since));
        since = now;
        if line.starts_with(SERVING) {
            break true;
        }
    };
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    if !served {
        bail!("the host does not serve: {steps:?}, {step}");
    }
    kill(pid, Signal::SIGTERM)?;
    // Read to the end, so that the host never waits for a full pipe.
    lines.for_each(drop);
    let status = child.wait()?;
    if status.success() { Ok(steps) } else { bail!("the host ended with {status}") }
}

fn report(starts: &[Steps]) -> anyhow::Result<()> {
    let mut by_step = BTreeMap::<&str, Vec<Duration>>::new();
    let mut totals = Vec::new();
    for steps in starts {
        totals.push(steps.iter().map(|(_, took)| *took).sum());
        for (step, took) in steps {
            by_step.entry(step).or_default().push(*took);
        }
    }
    let ready = median(&mut totals);
    let order = starts.first().map(Vec::as_slice).unwrap_or_default();
    let steps: Vec<(&str, f64)> = order
        .iter()
        .filter_map(|(step, _)| Some((step.as_str(), milliseconds(median(by_step.get_mut(step.as_str())?)))))
        .collect();
    print_table(
        ["START OF THE SHOP", "ms"],
        steps.iter().map(|(step, ms)| [(*step).to_owned(), format!("{ms:.1}")]),
    );
    println!("ready after {:.0} ms (target: at most {})", milliseconds(ready), TARGET.as_millis());
    let steps: Vec<_> =
        steps.iter().map(|(step, ms)| serde_json::json!({ "step": step, "ms": ms })).collect();
    let result =
        serde_json::json!({ "ready_ms": milliseconds(ready), "starts": starts.len(), "steps": steps });
    println!("written: {}", write_json("start", &result)?.display());
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
