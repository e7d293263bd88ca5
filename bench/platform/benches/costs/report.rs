//! Both sides of each cost in one table, from the estimates that criterion keeps.

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use wasmyard_bench_platform::{print_table, target_dir, write_json};

pub(crate) const WASMYARD: &str = "wasmyard";
pub(crate) const FLOOR: &str = "floor";

/// The costs, and the most that the platform's side of some may take, in milliseconds.
const COSTS: [(&str, Option<f64>); 8] = [
    ("compile a component", None),
    ("load compiled code", None),
    ("guest entered and left", None),
    ("the same in a fresh instance", None),
    ("call of a host function", None),
    ("call between two services", None),
    ("deploy until it answers", Some(50.0)),
    ("rollback until it answers", Some(5.0)),
];

#[derive(Serialize)]
struct Cost {
    cost: &'static str,
    wasmyard_ns: f64,
    floor_ns: f64,
    ratio: f64,
    target_ms: Option<f64>,
}

/// Prints the table and writes the results.
pub(crate) fn report() -> anyhow::Result<()> {
    let mut costs = Vec::new();
    for (cost, target_ms) in COSTS {
        let (Ok(wasmyard_ns), Ok(floor_ns)) = (estimate(cost, WASMYARD), estimate(cost, FLOOR)) else {
            // A filter on the command line left it out.
            continue;
        };
        costs.push(Cost { cost, wasmyard_ns, floor_ns, ratio: wasmyard_ns / floor_ns, target_ms });
    }
    let rows = costs.iter().map(|cost| {
        [
            cost.cost.to_owned(),
            readable(cost.wasmyard_ns),
            readable(cost.floor_ns),
            format!("{:.2}", cost.ratio),
            cost.target_ms.map_or_else(|| "-".to_owned(), |most| format!("{most} ms")),
        ]
    });
    println!();
    print_table(["WHAT", "WASMYARD", "BARE WASMTIME", "RATIO", "AT MOST"], rows);
    println!("\nwritten: {}", write_json("platform", &costs)?.display());
    Ok(())
}

/// The median of the rounds' medians, in nanoseconds.
fn estimate(cost: &str, side: &str) -> anyhow::Result<f64> {
    let folder = target_dir().join("criterion").join(cost).join(side);
    let mut rounds = Vec::new();
    for round in std::fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?.flatten() {
        let Ok(text) = std::fs::read(round.path().join("new/estimates.json")) else { continue };
        let estimates: Value = serde_json::from_slice(&text)?;
        rounds.push(estimates["median"]["point_estimate"].as_f64().context("an estimate without a median")?);
    }
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().context("no rounds")
}

fn readable(ns: f64) -> String {
    match ns {
        1e6.. => format!("{:.2} ms", ns / 1e6),
        1e3.. => format!("{:.2} µs", ns / 1e3),
        _ => format!("{ns:.0} ns"),
    }
}
