//! Measures Wasmyard beside a native peer, and draws what it found.
//!
//! Every figure is a ratio of two things measured in turn in one run: machines differ,
//! and the same machine differs from hour to hour.
//!
//! - `compare.rs`: the run
//! - `lines.rs`: what is measured, and the target of each line
//! - `systems.rs`, `manifest.rs`, `data.rs`: the two systems and their backends
//! - `h2load.rs`, `oha.rs`: load generators beside the library's `wrk.rs`
//! - `metrics.rs`, `memory.rs`: what a system says of itself, and what it holds
//! - `report.rs`, `table.rs`, `chart.rs`: what was found

mod chart;
mod compare;
mod data;
mod h2load;
mod lines;
mod manifest;
mod memory;
mod metrics;
mod oha;
mod report;
mod systems;
mod table;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures Wasmyard beside a native peer
#[derive(Debug, Parser)]
#[command(name = "bench", version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs both systems in turn on fresh backends, prints a table, writes the results
    Compare(compare::Compare),
    /// Draws the chart again from results that were written before
    Chart {
        /// The folder with `latest.json`
        #[arg(long, default_value = "bench/results")]
        results: PathBuf,
    },
    /// Prints the table again from results that were written before
    Table {
        /// The folder with `latest.json`
        #[arg(long, default_value = "bench/results")]
        results: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Compare(compare) => compare.run(),
        Verb::Chart { results } => chart::write(&report::Report::read(&results)?, &results),
        Verb::Table { results } => {
            println!("{}", table::table(&report::Report::read(&results)?));
            Ok(())
        }
    }
}
