//! What was found, as it is written to `latest.json`.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::oha::Latency;
use wasmyard_bench::sample::median;

/// One run of everything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When it began.
    pub(crate) began: jiff::Timestamp,
    /// Few and short rounds: good for a look, not for a claim.
    pub(crate) quick: bool,
    /// Cores of the machine; the load generator had one of them for itself.
    pub(crate) cores: usize,
    /// Whether the host has a near cache. Without one, what says that it is off is the
    /// host as it is.
    pub(crate) near: bool,
    pub(crate) lines: Vec<Found>,
    pub(crate) latency: Option<Latencies>,
    pub(crate) memory: Option<Memories>,
}

/// A line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) connections: usize,
    pub(crate) target: Option<Target>,
    /// In this order they were put under load, in turn.
    pub(crate) sides: [Measured; 2],
    /// Why the line has no ratio.
    pub(crate) failure: Option<String>,
}

/// One side of a line.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) system: String,
    /// Requests a second, for each round.
    pub(crate) rates: Vec<f64>,
    /// The process' own user and system time for a request in µs, for each round.
    pub(crate) cpu_us: Vec<f64>,
    /// The same for Redis.
    pub(crate) redis_us: Vec<f64>,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// Latency at half of the rate of the slower side, the same for both.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) rate: u64,
    pub(crate) wasmyard: Vec<Latency>,
    pub(crate) native: Vec<Latency>,
}

/// Resident memory in KiB.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Memories {
    pub(crate) wasmyard_rest: Held,
    pub(crate) native_rest: Held,
    /// Under load over many connections.
    pub(crate) wasmyard_load: Held,
    pub(crate) native_load: Held,
    /// Warm instances that the load had made.
    pub(crate) instances: u64,
    /// What each of them added; none when there were too few to tell.
    pub(crate) instance_kib: Option<f64>,
}

/// What a process holds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) rss_kib: u64,
    pub(crate) pss_kib: u64,
}

/// A figure that has a target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
}

/// Processor time for an item from the cache, everything switched on but the log.
const CPU_US: Target = Target::AtMost(20.0);
/// Of the 99th percentile over the native one.
const P99: Target = Target::AtMost(1.25);

impl Report {
    /// Every figure that has a target, in the order of the lines.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for line in &self.lines {
            if let (Some(target), Some(figure)) = (line.target, line.ratio()) {
                checks.push(Check { what: line.what.clone(), figure, unit: "×", target });
            }
        }
        if let Some(figure) = self.latency.as_ref().and_then(Latencies::p99_ratio) {
            let what = "p99 at half of saturation".to_owned();
            checks.push(Check { what, figure, unit: "×", target: P99 });
        }
        let item = self.lines.iter().find(|line| line.name == crate::lines::ITEM);
        if let Some(figure) = item.and_then(|line| median(&line.sides[0].cpu_us)) {
            let what = "CPU of an item from cache".to_owned();
            checks.push(Check { what, figure, unit: " µs", target: CPU_US });
        }
        checks
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(std::fs::write(folder.join("latest.json"), text)?)
    }

    /// Reads what was written.
    ///
    /// # Errors
    ///
    /// It is not there, or was written by another version.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("latest.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }
}

impl Found {
    /// The first side's rate over the second's: the median over the rounds, each of
    /// which compares two neighbours in time.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let [first, second] = &self.sides;
        let ratios: Vec<_> =
            first.rates.iter().zip(&second.rates).map(|(first, second)| first / second).collect();
        median(&ratios).filter(|_| self.failure.is_none())
    }
}

impl Latencies {
    /// The 99th percentile over the native one: the median over the rounds.
    pub(crate) fn p99_ratio(&self) -> Option<f64> {
        let rounds = self.wasmyard.iter().zip(&self.native);
        median(&rounds.map(|(wasmyard, native)| wasmyard.p99_ms / native.p99_ms).collect::<Vec<_>>())
    }
}

impl Target {
    /// Whether a figure is as it should be.
    pub(crate) fn met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }

    /// The bound itself.
    pub(crate) fn bound(self) -> f64 {
        match self {
            Self::AtLeast(bound) | Self::AtMost(bound) => bound,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(rates: &[f64]) -> Measured {
        Measured { rates: rates.to_vec(), ..Measured::default() }
    }

    #[test]
    fn a_ratio_compares_neighbours_in_time() {
        let mut line = Found {
            name: "item".into(),
            what: "item".into(),
            connections: 32,
            target: Some(Target::AtLeast(1.5)),
            // The machine slowed down to a third, and the ratio stayed.
            sides: [side(&[200.0, 210.0, 70.0]), side(&[100.0, 100.0, 35.0])],
            failure: None,
        };
        assert_eq!(line.ratio(), Some(2.0));
        line.failure = Some("3 answers not 2xx".into());
        assert_eq!(line.ratio(), None);
    }

    #[test]
    fn a_target_has_a_side() {
        assert!(Target::AtLeast(1.5).met(1.5) && !Target::AtLeast(1.5).met(1.49));
        assert!(Target::AtMost(1.25).met(1.25) && !Target::AtMost(1.25).met(1.26));
    }
}
