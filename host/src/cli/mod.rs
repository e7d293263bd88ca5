//! The command line: one file per verb.

mod build;
mod check;
mod client;
mod completions;
mod deploy;
mod exit;
mod history;
mod keys;
mod locate;
mod new;
mod progress;
mod rollback;
mod saga;
mod status;
mod table;
mod up;
mod wasm_file;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::{CliError, Exit};

use crate::telemetry;

const AFTER_HELP: &str = "\
Examples:
  wasmyard up --local              serve the shop with a Postgres and a Redis of its own
  wasmyard check                   is everything right, without serving?
  wasmyard deploy users new.wasm   a new version, while the old one serves
  wasmyard status --json | jq '.services[].version'
  wasmyard new reviews             a service that builds, is tested and serves

Exit codes:
   0  done
   1  failed
   2  wrong usage
   3  refused: a component is at odds with its grants, or a deploy was turned down
  64  the manifest is wrong
  69  no host can be reached
  70  an internal error
  73  a file or folder cannot be made
  74  a file cannot be read or written";

/// Runs microservices as sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "wasmyard", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// The manifest [default: the nearest wasmyard.toml, from this folder upward]
    #[arg(long, global = true, env = "WASMYARD_MANIFEST", value_name = "PATH")]
    pub manifest: Option<PathBuf>,

    /// Answer in JSON on standard output, errors too
    #[arg(long, global = true)]
    pub json: bool,

    /// How log lines are written: human or json [default: human on a terminal]
    #[arg(long, global = true, env = telemetry::logs::FORMAT_VAR, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "each is documented in its own file, which clap shows")]
pub enum Verb {
    Up(up::Up),
    Build(build::Build),
    Check(check::Check),
    Deploy(deploy::Deploy),
    Rollback(rollback::Rollback),
    Status(status::Status),
    History(history::History),
    Keys(keys::Keys),
    Saga(saga::Saga),
    New(new::New),
    Completions(completions::Completions),
}

/// What every verb is given.
struct Context {
    manifest: Option<PathBuf>,
    json: bool,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = Context { manifest: cli.manifest, json: cli.json };
    let _flush = match telemetry::logs::init(cli.log_format.as_deref()) {
        Ok(flush) => flush,
        Err(error) => return CliError::new(Exit::Usage, format!("{error:#}")).report(context.json),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = CliError::new(Exit::Internal, format!("no threads can be started: {error}"));
            return error.report(context.json);
        }
    };
    match runtime.block_on(run(cli.verb, &context)) {
        Ok(()) => Exit::Done.into(),
        Err(error) => error.report(context.json),
    }
}

async fn run(verb: Verb, context: &Context) -> Result<(), CliError> {
    match verb {
        Verb::Up(up) => up.run(context).await,
        Verb::Build(build) => build.run(context).await,
        Verb::Check(check) => check.run(context).await,
        Verb::Deploy(deploy) => deploy.run(context).await,
        Verb::Rollback(rollback) => rollback.run(context).await,
        Verb::Status(status) => status.run(context).await,
        Verb::History(history) => history.run(context).await,
        Verb::Keys(keys) => keys.run(context).await,
        Verb::Saga(saga) => saga.run(context).await,
        Verb::New(new) => new.run(context).await,
        Verb::Completions(completions) => completions.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_verb_has_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:"), "{} has no examples", verb.get_name());
        }
    }

    #[test]
    fn the_help_names_every_exit_code() {
        for exit in Exit::ALL {
            let listed = AFTER_HELP
                .lines()
                .any(|line| line.split_whitespace().next() == Some((*exit as u8).to_string().as_str()));
            assert!(listed, "{exit:?}");
        }
    }
}
