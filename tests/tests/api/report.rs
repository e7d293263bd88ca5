//! What schemathesis has done, counted by operation.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde_json::Value;

/// A run as one caller.
pub(crate) struct Report {
    caller: String,
    /// Whether all answers were as described.
    pub(crate) passed: bool,
    pub(crate) operations: BTreeMap<String, Counts>,
}

/// The requests to one operation.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) requests: usize,
    /// Their answers, by status.
    answers: BTreeMap<u64, usize>,
}

impl Report {
    /// Reads the events of a run, one JSON object in each line.
    pub(crate) fn read(caller: &str, passed: bool, events: &Path) -> Self {
        let mut operations: BTreeMap<String, Counts> = BTreeMap::new();
        let lines = BufReader::new(File::open(events).expect("a report")).lines();
        for line in lines {
            let event: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
            let recorder = &event["ScenarioFinished"]["recorder"];
            // A phase that had nothing to do for an operation has none.
            let Some(interactions) = recorder["interactions"].as_object() else { continue };
            let operation = recorder["label"].as_str().expect("an operation");
            let counts = operations.entry(operation.to_owned()).or_default();
            // Checks send some of a request once more, without its token or by another method.
            let cases = recorder["cases"].as_object().into_iter().flat_map(serde_json::Map::values);
            counts.requests += cases.filter(|case| case["parent_id"].is_null()).count();
            for interaction in interactions.values() {
                // 0: there was no answer, which fails the run anyway.
                let status = interaction["response"]["status_code"].as_u64().unwrap_or_default();
                *counts.answers.entry(status).or_default() += 1;
            }
        }
        Self { caller: caller.to_owned(), passed, operations }
    }
}

impl Counts {
    /// How many succeeded.
    pub(crate) fn succeeded(&self) -> usize {
        self.answers.range(200..300).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: usize = self.operations.values().map(|counts| counts.requests).sum();
        writeln!(f, "as {}: {all} requests to {} operations", self.caller, self.operations.len())?;
        for (operation, Counts { requests, answers }) in &self.operations {
            write!(f, "{requests:6}  {operation:44}")?;
            for (status, count) in answers {
                write!(f, " {status}: {count}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
