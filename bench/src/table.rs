//! The results as a table for a terminal.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};

use crate::oha::Latency;
use crate::report::{Found, Held, Measured, Report};
use wasmyard_bench::sample::median;

/// Everything that was found.
pub(crate) fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "",
        "req/s",
        "over",
        "req/s",
        "ratio",
        "target",
        "",
        "CPU µs",
        "over",
        "Redis µs",
        "over",
    ]);
    for line in &report.lines {
        table.add_row(row(line));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.to_string();
    text.push('\n');
    if !report.near {
        text.push_str("\nThis host has no near cache: what says that it is off is the host as it is.\n");
    }
    latency(report, &mut text);
    memory(report, &mut text);
    text.push('\n');
    for check in report.checks() {
        let mark = if check.target.met(check.figure) { "met   " } else { "MISSED" };
        let _ =
            writeln!(text, "{mark}  {:.2}{} ({})  {}", check.figure, check.unit, check.target, check.what);
    }
    for line in &report.lines {
        if let Some(failure) = &line.failure {
            let _ = writeln!(text, "FAILED  {}: {failure}", line.what);
        }
    }
    text
}

fn row(line: &Found) -> Vec<String> {
    let [first, second] = &line.sides;
    let ratio = line.ratio();
    let met = line.target.zip(ratio).map(|(target, ratio)| if target.met(ratio) { "met" } else { "MISSED" });
    let over = |figures: fn(&Measured) -> &Vec<f64>, decimals| {
        [first, second]
            .map(|side| median(figures(side)).map_or_else(String::new, |it| format!("{it:.decimals$}")))
    };
    let [rate, other_rate] = over(|side| &side.rates, 0);
    let [cpu, other_cpu] = over(|side| &side.cpu_us, 1);
    let [redis, other_redis] = over(|side| &side.redis_us, 1);
    vec![
        format!("{}\n  {} over {}", line.what, first.system, second.system),
        rate,
        "/".to_owned(),
        other_rate,
        if line.failure.is_some() {
            "FAILED".to_owned()
        } else {
            ratio.map_or_else(String::new, |it| format!("{it:.2}"))
        },
        line.target.map_or_else(String::new, |target| target.to_string()),
        met.unwrap_or_default().to_owned(),
        cpu,
        other_cpu,
        redis,
        other_redis,
    ]
}

fn latency(report: &Report, text: &mut String) {
    let Some(latency) = &report.latency else { return };
    let _ = writeln!(text, "\nLatency at {} requests a second, in ms:", latency.rate);
    for (system, runs) in [("Wasmyard", &latency.wasmyard), ("native", &latency.native)] {
        let at = |figure: fn(&Latency) -> f64| {
            median(&runs.iter().map(figure).collect::<Vec<_>>()).unwrap_or_default()
        };
        let (p50, p99, p999) = (at(|it| it.p50_ms), at(|it| it.p99_ms), at(|it| it.p999_ms));
        let rate = at(|it| it.rate);
        let _ =
            writeln!(text, "  {system:<10} p50 {p50:.3}  p99 {p99:.3}  p99.9 {p999:.3}  (sent {rate:.0}/s)");
    }
}

fn memory(report: &Report, text: &mut String) {
    let Some(memory) = &report.memory else { return };
    let mib =
        |held: Held| format!("{} MiB ({} MiB proportional)", held.rss_kib / 1_024, held.pss_kib / 1_024);
    let _ = writeln!(text, "\nResident memory:");
    let _ = writeln!(
        text,
        "  at rest     Wasmyard {}, native {}",
        mib(memory.wasmyard_rest),
        mib(memory.native_rest)
    );
    let (wasmyard, native) = (mib(memory.wasmyard_load), mib(memory.native_load));
    let _ = writeln!(text, "  under load  Wasmyard {wasmyard}, native {native}");
    if let Some(kib) = memory.instance_kib {
        let _ = writeln!(text, "  each warm instance {kib:.0} KiB, of {}", memory.instances);
    }
}
