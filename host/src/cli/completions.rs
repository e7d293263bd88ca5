//! `wasmyard completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::table::print;
use super::{Cli, CliError, Exit};

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard completions bash > /etc/bash_completion.d/wasmyard
  wasmyard completions zsh > ~/.zfunc/_wasmyard
  wasmyard completions fish > ~/.config/fish/completions/wasmyard.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "wasmyard", &mut script);
        let script = String::from_utf8(script)
            .map_err(|_| CliError::new(Exit::Internal, "the completions are not UTF-8"))?;
        print(&script)
    }
}
