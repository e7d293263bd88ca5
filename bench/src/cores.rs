//! Which core does what: the load generator has the last one for itself.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{bound, output};

/// The cores of this process, shared out.
#[derive(Debug, Clone)]
pub struct Cores {
    /// For the systems and their backends, as `taskset` writes a list.
    pub systems: String,
    /// For the load generator.
    pub generator: String,
    /// How many there are.
    pub count: usize,
}

impl Cores {
    /// Shares out the cores that this process may use, and moves this process, with all
    /// that it will start, to those of the systems.
    ///
    /// # Errors
    ///
    /// The kernel does not say which cores there are, or `taskset` fails.
    pub fn share() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let all = expand(allowed.context("no list of cores")?.trim()).context("a list of cores")?;
        let (last, rest) = all.split_last().context("no cores")?;
        let systems = if rest.is_empty() { std::slice::from_ref(last) } else { rest };
        let list: Vec<_> = systems.iter().map(ToString::to_string).collect();
        let cores = Self { systems: list.join(","), generator: last.to_string(), count: all.len() };
        let own = std::process::id().to_string();
        output(Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", &cores.systems, &own]))?;
        Ok(cores)
    }

    /// A command of the load generator, on its core and with as many sockets as may be.
    pub fn generator(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = bound("KILL", "taskset");
        command.arg("--cpu-list").arg(&self.generator).arg(program);
        command
    }
}

/// `0-2,5` as numbers.
fn expand(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cores.extend(first..=last);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_has_ranges() {
        assert_eq!(expand("0-1"), Some(vec![0, 1]));
        assert_eq!(expand("3"), Some(vec![3]));
        assert_eq!(expand("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(expand("x"), None);
    }
}
