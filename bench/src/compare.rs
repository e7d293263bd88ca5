//! The run: both systems in turn, line by line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use tempfile::TempDir;

use crate::lines::{self, Line, Load, Side};
use crate::oha::Oha;
use crate::report::{Found, Latencies, Measured, Report};
use crate::systems::{Programs, Systems};
use crate::{chart, data, h2load, memory, table};
use wasmyard_bench::cores::Cores;
use wasmyard_bench::sample::{Sample, median};
use wasmyard_bench::wrk::Wrk;

/// Runs both systems in turn on fresh backends, prints a table, writes the results
///
/// `make bench` builds what this needs. Ends with 1 when a line failed: a rate with
/// errors in it is none. A target that is missed is no failure.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Few and short rounds: about 2 minutes instead of 8
    #[arg(long)]
    quick: bool,
    /// Only these lines, without latency and memory; nothing is written unless --results
    /// is given
    #[arg(long, value_name = "LINE", value_delimiter = ',')]
    only: Vec<String>,
    /// Rounds of each line [default: 5, quick: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each run [default: 3, quick: 1]
    #[arg(long)]
    seconds: Option<u64>,
    /// The folder for `latest.json` and `latest.svg` [default: bench/results]
    #[arg(long)]
    results: Option<PathBuf>,
    /// The folder that cargo builds into
    #[arg(long, env = "CARGO_TARGET_DIR", default_value = "target")]
    target_dir: PathBuf,
    /// Where an `oha` is kept that is not in PATH
    #[arg(long, env = "BENCH_TOOLS", value_name = "FOLDER")]
    tools: Option<PathBuf>,
}

/// The shortest run of thousands of clients, whose connecting alone takes a second.
const MANY_CLIENTS_SECONDS: u64 = 4;

/// What every run needs.
struct Run<'a> {
    systems: &'a Systems,
    cores: &'a Cores,
    scripts: &'a TempDir,
    seconds: u64,
}

impl Compare {
    /// Runs everything that is asked for.
    ///
    /// # Errors
    ///
    /// Something is missing or does not start, or a line failed.
    pub(crate) fn run(&self) -> Result<()> {
        let wanted = self.wanted()?;
        // Before the backends: it may take minutes.
        let oha = self.only.is_empty().then(|| Oha::find(&self.tools())).transpose()?;
        let repository = std::env::current_dir()?;
        ensure!(repository.join("wasmyard.toml").is_file(), "run it in the repository's root");
        let cores = Cores::share()?;
        if cores.count < 2 {
            eprintln!("warning: one core for all: the load generator takes from what it measures");
        }
        let target = std::path::absolute(&self.target_dir)?;
        let systems = Systems::start(&Programs { target, repository }, |step| eprintln!("{step}"))?;
        let scripts = scripts()?;
        let run = Run { systems: &systems, cores: &cores, scripts: &scripts, seconds: self.seconds() };

        let mut report = Report {
            began: jiff::Timestamp::now(),
            quick: self.quick,
            cores: cores.count,
            near: systems.has_near(),
            lines: Vec::new(),
            latency: None,
            memory: None,
        };
        let whole = self.only.is_empty();
        if whole {
            report.memory = Some(memory::look(&systems, &cores, self.seconds().max(2))?);
        }
        // Thousands of clients leave thousands of instances behind, whose end some seconds
        // later would stand in the latencies of the others: they come last.
        let (many, usual): (Vec<_>, Vec<_>) = wanted.iter().partition(|line| line.connections > 32);
        report.lines.extend(usual.iter().map(|line| run.line(line, self.rounds())));
        let rounds = self.rounds().min(3);
        if let Some(oha) = &oha {
            report.latency = Some(run.latency(oha, &report, rounds)?);
        }
        report.lines.extend(many.iter().map(|line| run.line(line, rounds)));
        drop(systems);
        self.finish(&report)
    }

    fn finish(&self, report: &Report) -> Result<()> {
        println!("{}", table::table(report));
        let results = self.results.as_deref();
        if let Some(folder) = results.or_else(|| self.only.is_empty().then(|| Path::new("bench/results"))) {
            report.write(folder)?;
            chart::write(report, folder)?;
            eprintln!("written: {0}/latest.json, {0}/latest.svg", folder.display());
        }
        let failed: Vec<_> = report
            .lines
            .iter()
            .filter(|line| line.failure.is_some())
            .map(|line| line.name.as_str())
            .collect();
        ensure!(failed.is_empty(), "FAILED: {}", failed.join(", "));
        Ok(())
    }

    fn wanted(&self) -> Result<Vec<Line>> {
        let all = lines::all();
        if let Some(unknown) = self.only.iter().find(|name| !all.iter().any(|line| line.name == **name)) {
            let names: Vec<_> = all.iter().map(|line| line.name).collect();
            bail!("there is no line {unknown}; there are {}", names.join(", "));
        }
        let is_wanted = |line: &Line| self.only.is_empty() || self.only.iter().any(|name| name == line.name);
        Ok(all.into_iter().filter(is_wanted).collect())
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1)
    }

    fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }

    fn tools(&self) -> PathBuf {
        let cache = || {
            let home = std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into());
            Path::new(&home).join(".cache/wasmyard/tools")
        };
        self.tools.clone().unwrap_or_else(cache)
    }
}

/// Clients that warm a side up.
const WARM_UP_CONNECTIONS: usize = 32;

impl Run<'_> {
    /// One line: warmed up, then A B A B.
    fn line(&self, line: &Line, rounds: usize) -> Found {
        eprint!("{} ", line.what);
        let measured = |side: Side| Measured { system: side.label().to_owned(), ..Measured::default() };
        let mut found = Found {
            name: line.name.to_owned(),
            what: line.what.to_owned(),
            connections: line.connections,
            target: line.target,
            sides: [measured(line.first), measured(line.second)],
            failure: None,
        };
        match self.rounds(line, rounds, &mut found) {
            Ok(()) => eprintln!(" {:.2}", found.ratio().unwrap_or_default()),
            Err(error) => {
                eprintln!("\nFAILED: {}: {error:#}", line.what);
                for side in [line.first, line.second] {
                    if let Some(said) = side.process(self.systems).said() {
                        eprintln!("{} said last: {said}", side.label());
                    }
                }
                found.failure = Some(format!("{error:#}"));
            }
        }
        found
    }

    fn rounds(&self, line: &Line, rounds: usize, found: &mut Found) -> Result<()> {
        // By a few clients: what thousands do to a cold cache is not what is measured here.
        let few = Line { connections: line.connections.min(WARM_UP_CONNECTIONS), ..line.clone() };
        for side in [line.first, line.second] {
            self.put(&few, side, 1, "warm").with_context(|| side.label())?;
        }
        for round in 0..rounds {
            for (side, measured) in [line.first, line.second].into_iter().zip(&mut found.sides) {
                self.measure(line, side, round, measured).with_context(|| side.label())?;
                eprint!(".");
            }
        }
        Ok(())
    }

    fn measure(&self, line: &Line, side: Side, round: usize, measured: &mut Measured) -> Result<()> {
        if line.load == Load::Miss {
            self.systems.empty_cache();
        }
        let process = side.process(self.systems);
        let (cpu, redis) = (process.cpu()?, self.systems.redis_cpu()?);
        let sample = self.put(line, side, self.seconds, &round.to_string())?;
        let (cpu, redis) = (process.cpu()? - cpu, self.systems.redis_cpu()? - redis);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let each = |seconds: f64| seconds * 1e6 / sample.requests as f64;
        measured.rates.push(sample.rate);
        measured.cpu_us.push(each(cpu.as_secs_f64()));
        measured.redis_us.push(each(redis));
        Ok(())
    }

    /// Puts one side under load.
    fn put(&self, line: &Line, side: Side, seconds: u64, round: &str) -> Result<Sample> {
        let url = side.url(self.systems, line.load)?;
        // The last of so many clients are let in when the kernel tries again.
        let seconds = if line.connections > 512 { seconds.max(MANY_CLIENTS_SECONDS) } else { seconds };
        // A user's name is unique over all runs of both sides.
        let name = format!("{}-{round}-", side.label().replace([' ', ','], ""));
        let script = |file: &str| self.scripts.path().join(file);
        let script = match line.load {
            Load::Http2 => return h2load::run(self.cores, &url, seconds)?.clean(),
            Load::Same => None,
            Load::Miss => Some(script("miss.lua")),
            Load::CreateUser => Some(script("create_user.lua")),
            Load::CreateOrder => Some(script("create_order.lua")),
        };
        let script = script.as_deref().map(|script| (script, name.as_str()));
        let wrk = Wrk { url: &url, connections: line.connections, seconds, script, headers: &[] };
        let sample = wrk.run(self.cores)?.clean()?;
        if line.load == Load::Miss {
            ensure!(sample.requests < data::ORDERS.into(), "the orders ran out: some answers were hits");
        }
        Ok(sample)
    }

    fn latency(&self, oha: &Oha, report: &Report, rounds: usize) -> Result<Latencies> {
        let item = report.lines.iter().find(|line| line.name == lines::ITEM).context("no line to halve")?;
        let rates = item.sides.iter().filter_map(|side| median(&side.rates));
        let slower = rates.min_by(f64::total_cmp).context("no rate to halve")?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is small and positive"
        )]
        let rate = (slower / 2.0) as u64;
        eprint!("latency at {rate} requests a second ");
        let mut latencies = Latencies { rate, wasmyard: Vec::new(), native: Vec::new() };
        let path = "/api/v1/users/1";
        let seconds = self.seconds + 2;
        for _ in 0..rounds {
            let look = |side: Side| oha.run(self.cores, &side.url(self.systems, Load::Same)?, rate, seconds);
            latencies.wasmyard.push(look(Side::Wasmyard("users", path))?);
            eprint!(".");
            latencies.native.push(look(Side::Native(path))?);
            eprint!(".");
        }
        eprintln!();
        Ok(latencies)
    }
}

/// The scripts of the load generator, in a folder of their own.
fn scripts() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, text) in [
        ("miss.lua", include_str!("../scripts/miss.lua")),
        ("create_user.lua", include_str!("../scripts/create_user.lua")),
        ("create_order.lua", include_str!("../scripts/create_order.lua")),
    ] {
        std::fs::write(folder.path().join(name), text)?;
    }
    Ok(folder)
}
