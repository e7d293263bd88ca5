//! What a command is doing: a spinner on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows steps on standard error, so that standard output stays for answers.
pub(super) struct Progress {
    spinner: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// Starts to show. With `quiet` it shows nothing: a script reads the answer.
    pub(super) fn start(quiet: bool) -> Self {
        let spinner = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Self { spinner, quiet }
    }

    /// What is being done now. After [`Progress::finish`] a plain line: the stop's steps
    /// come long after the start's, below whatever the log has written.
    pub(super) fn step(&self, text: &str) {
        match &self.spinner {
            Some(spinner) if spinner.is_finished() => eprintln!("{text}"),
            Some(spinner) => spinner.set_message(text.to_owned()),
            None if !self.quiet => eprintln!("{text}"),
            None => {}
        }
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.println(text),
            None if !self.quiet => eprintln!("{text}"),
            None => {}
        }
    }

    /// Ends the spinner; what follows stands on a clean line.
    pub(super) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
