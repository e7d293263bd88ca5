//! One turn of load on the busy service.

use anyhow::Context as _;
use wasmyard_bench::cores::Cores;
use wasmyard_bench::wrk::Wrk;
use wasmyard_bench_platform::HostProcess;

/// As many as a service behind a proxy has.
const CONNECTIONS: usize = 32;

/// What one turn gave.
pub(crate) struct Turn {
    pub(crate) requests_per_second: f64,
    pub(crate) p99_ms: f64,
    /// The host's own user and system time.
    pub(crate) cpu_us_per_request: f64,
}

/// Loads the first service of a host over HTTPS for so long.
pub(crate) fn turn(host: &HostProcess, cores: &Cores, seconds: u64) -> anyhow::Result<Turn> {
    let https = host.ready["https"].as_str().and_then(|address| address.rsplit_once(':'));
    let (_, port) = https.context("the host has no HTTPS")?;
    let url = format!("https://localhost:{port}/s0");
    let before = host.process.cpu()?;
    let load = Wrk { url: &url, connections: CONNECTIONS, seconds, script: None, headers: &[] };
    let sample = load.run(cores)?.clean()?;
    let used = host.process.cpu()? - before;
    Ok(Turn {
        requests_per_second: sample.rate,
        p99_ms: sample.p99.context("no p99")?.as_secs_f64() * 1e3,
        cpu_us_per_request: used.as_secs_f64() * 1e6 / sample.requests as f64,
    })
}
