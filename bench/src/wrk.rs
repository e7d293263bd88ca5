//! `wrk`: as many requests as a system answers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::command::output;
use crate::cores::Cores;
use crate::sample::Sample;

/// One run: as many connections, for so many seconds.
#[derive(Debug, Clone)]
pub struct Wrk<'a> {
    /// Where it asks.
    pub url: &'a str,
    /// Connections at once, each with one request at a time.
    pub connections: usize,
    /// How long.
    pub seconds: u64,
    /// A script, and its argument.
    pub script: Option<(&'a Path, &'a str)>,
    /// Header fields, each as `name: value`.
    pub headers: &'a [&'a str],
}

impl Wrk<'_> {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// `wrk` is missing, or prints what nobody expects. What it counts as wrong is in
    /// the sample.
    pub fn run(&self, cores: &Cores) -> Result<Sample> {
        let mut command = cores.generator("wrk");
        command.args(["--threads", "1", "--timeout", "5s", "--latency"]);
        command.args(["--connections", &self.connections.to_string()]);
        command.args(["--duration", &format!("{}s", self.seconds)]);
        for header in self.headers {
            command.args(["--header", header]);
        }
        if let Some((script, _)) = self.script {
            command.arg("--script").arg(script);
        }
        command.arg(self.url);
        if let Some((_, argument)) = self.script {
            command.arg("--").arg(argument);
        }
        let printed = output(&mut command)?;
        parse(&printed).with_context(|| format!("wrk printed:\n{printed}"))
    }
}

fn parse(printed: &str) -> Option<Sample> {
    let after = |label: &str| printed.lines().find_map(|line| line.trim().strip_prefix(label));
    let rate = after("Requests/sec:")?.trim().parse().ok()?;
    let requests =
        printed.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok())?;
    let refused = after("Non-2xx or 3xx responses:").map(|count| format!("{} answers not 2xx", count.trim()));
    let broken = after("Socket errors:").map(|errors| format!("socket errors: {}", errors.trim()));
    let errors: Vec<_> = refused.into_iter().chain(broken).collect();
    let errors = (!errors.is_empty()).then(|| errors.join("; "));
    Some(Sample { requests, rate, p99: Some(time(after("99%")?.trim())?), errors })
}

/// `812.00us`, `1.25ms` or `1.02s`.
fn time(printed: &str) -> Option<Duration> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((printed.strip_suffix(unit)?, factor)))?;
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 8 connections\n  \
         Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Req/Sec    31.05k     1.13k   32.23k    81.82%\n  \
         Latency Distribution\n     50%  249.00us\n     99%    1.25ms\n  \
         33990 requests in 1.10s, 8.49MB read\nRequests/sec:  30899.92\nTransfer/sec:      7.72MB\n";

    #[test]
    fn what_wrk_prints_is_read() {
        let sample = parse(CLEAN).expect("a sample");
        assert_eq!(
            sample,
            Sample {
                requests: 33_990,
                rate: 30_899.92,
                p99: Some(Duration::from_micros(1_250)),
                errors: None
            }
        );
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("812.00us"), Some(Duration::from_micros(812)));
        assert_eq!(time("1.02s"), Some(Duration::from_millis(1_020)));
        assert_eq!(time("1.02m"), None);
    }

    #[test]
    fn errors_are_never_lost() {
        let refused = format!("  Non-2xx or 3xx responses: 12\n{CLEAN}");
        assert_eq!(parse(&refused).and_then(|s| s.errors).as_deref(), Some("12 answers not 2xx"));
        let broken = format!("  Socket errors: connect 0, read 3, write 0, timeout 1\n{CLEAN}");
        let errors = parse(&broken).and_then(|sample| sample.errors);
        assert_eq!(errors.as_deref(), Some("socket errors: connect 0, read 3, write 0, timeout 1"));
    }
}
