//! `oha`: latency at a fixed rate, counted from the moment that a request was due, not
//! from when the one before it left room for it (no coordinated omission).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use wasmyard_bench::command::output;
use wasmyard_bench::cores::Cores;

/// The version that this was written with.
const VERSION: &str = "1.16.0";
/// What it calls the requests that were under way when the time was over.
const DEADLINE: &str = "aborted due to deadline";

/// Latencies of one run, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Half of the requests were answered in this time.
    pub(crate) p50_ms: f64,
    /// 99 of a hundred.
    pub(crate) p99_ms: f64,
    /// 999 of a thousand.
    pub(crate) p999_ms: f64,
    /// Requests a second that were really sent.
    pub(crate) rate: f64,
}

/// An `oha` that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Oha(PathBuf);

impl Oha {
    /// The one in `PATH`, or one of our own in `tools`, which is built first when it is
    /// not there: some minutes.
    ///
    /// # Errors
    ///
    /// It does not build.
    pub(crate) fn find(tools: &Path) -> Result<Self> {
        if output(Command::new("oha").arg("--version")).is_ok() {
            return Ok(Self("oha".into()));
        }
        let own = tools.join("bin/oha");
        if !own.is_file() {
            eprintln!("building oha {VERSION} into {}, once, for some minutes", tools.display());
            let mut cargo = Command::new("cargo");
            cargo.args(["install", "oha", "--version", VERSION, "--locked", "--root"]).arg(tools);
            // It is not what is measured: built fast rather than made fast.
            cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
            cargo.env("CARGO_TARGET_DIR", tools.join("build")).current_dir("/");
            output(&mut cargo)?;
        }
        Ok(Self(own))
    }

    /// Sends `rate` requests a second over 32 connections.
    ///
    /// # Errors
    ///
    /// `oha` fails, or any answer was not 2xx.
    pub(crate) fn run(&self, cores: &Cores, url: &str, rate: u64, seconds: u64) -> Result<Latency> {
        let mut command = cores.generator(&self.0);
        command.args(["--no-tui", "--output-format", "json", "--latency-correction", "-c", "32"]);
        command.args(["-q", &rate.to_string(), "-z", &format!("{seconds}s"), url]);
        let printed = output(&mut command)?;
        parse(&printed)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    summary: Summary,
    latency_percentiles: BTreeMap<String, Option<f64>>,
    status_code_distribution: BTreeMap<String, u64>,
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    requests_per_sec: f64,
}

fn parse(printed: &str) -> Result<Latency> {
    let printed: Printed = serde_json::from_str(printed).context("what oha printed")?;
    let refused = printed.status_code_distribution.keys().find(|status| !status.starts_with('2'));
    if let Some(status) = refused {
        anyhow::bail!("answers with status {status}");
    }
    if let Some(error) = printed.error_distribution.keys().find(|error| *error != DEADLINE) {
        anyhow::bail!("{error}");
    }
    let at = |percentile: &str| {
        let seconds = printed.latency_percentiles.get(percentile).copied().flatten();
        Ok::<_, anyhow::Error>(seconds.with_context(|| format!("no {percentile}"))? * 1_000.0)
    };
    let rate = printed.summary.requests_per_sec;
    Ok(Latency { p50_ms: at("p50")?, p99_ms: at("p99")?, p999_ms: at("p99.9")?, rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(statuses: &str, errors: &str) -> String {
        format!(
            r#"{{"summary": {{"requestsPerSec": 1000.5}},
                "latencyPercentiles": {{"p50": 0.001, "p99": 0.002, "p99.9": 0.0035}},
                "statusCodeDistribution": {statuses}, "errorDistribution": {errors}}}"#
        )
    }

    #[test]
    fn what_oha_prints_is_read() {
        let latency = parse(&printed(r#"{"200": 5000}"#, r#"{"aborted due to deadline": 3}"#)).expect("it");
        assert_eq!(latency, Latency { p50_ms: 1.0, p99_ms: 2.0, p999_ms: 3.5, rate: 1000.5 });
    }

    #[test]
    fn errors_are_never_lost() {
        assert!(parse(&printed(r#"{"200": 5000, "503": 1}"#, "{}")).is_err());
        assert!(parse(&printed(r#"{"200": 5000}"#, r#"{"connection reset": 1}"#)).is_err());
    }
}
