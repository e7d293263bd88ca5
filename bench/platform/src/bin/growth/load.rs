//! One turn of load on the busy service.

use std::process::Command;

use anyhow::{Context as _, bail};
use wasmyard_bench_platform::HostProcess;

/// The host leaves the load generator a core of its own.
pub(crate) const HOST_CORES: [&str; 3] = ["taskset", "-c", "0"];
const LOAD_CORE: &str = "1";

/// What one turn gave.
pub(crate) struct Turn {
    pub(crate) requests_per_second: f64,
    pub(crate) p99_ms: f64,
    /// The host's own user and system time.
    pub(crate) cpu_us_per_request: f64,
}

/// Loads the first service of a host over HTTPS for so long.
pub(crate) fn turn(host: &HostProcess, seconds: u32) -> anyhow::Result<Turn> {
    let https = host.ready["https"].as_str().and_then(|address| address.rsplit_once(':'));
    let (_, port) = https.context("the host has no HTTPS")?;
    let url = format!("https://localhost:{port}/s0");
    let before = host.cpu_time()?;
    let ran = Command::new("taskset")
        .args(["-c", LOAD_CORE, "wrk", "--threads", "1", "--connections", "32", "--latency"])
        .args(["--duration", &format!("{seconds}s"), &url])
        .output()
        .context("cannot run wrk")?;
    let used = host.cpu_time()? - before;
    let text = String::from_utf8_lossy(&ran.stdout);
    if !ran.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk: {text}{}", String::from_utf8_lossy(&ran.stderr));
    }
    let requests =
        text.lines().find_map(|line| line.trim().split_once(" requests in ")).context("no count")?;
    let requests: f64 = requests.0.parse()?;
    let field = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
        found.map(str::trim).with_context(|| format!("wrk says nothing of {name}"))
    };
    Ok(Turn {
        requests_per_second: field("Requests/sec:")?.parse()?,
        p99_ms: in_milliseconds(field("99%")?)?,
        cpu_us_per_request: used.as_secs_f64() * 1e6 / requests,
    })
}

/// wrk writes `812.00us`, `1.25ms` or `1.02s`.
fn in_milliseconds(time: &str) -> anyhow::Result<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let found = units.iter().find_map(|(unit, factor)| Some((time.strip_suffix(unit)?, factor)));
    let (number, factor) = found.with_context(|| format!("{time} is no time"))?;
    Ok(number.parse::<f64>()? * factor)
}
