//! The tools, which are Python's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use wasmyard_tests::{Answer, repository};

use crate::report::Report;

/// How long one of them may take: several times what the slowest does on two cores, and a
/// fraction of what CI has.
const RUN_MAX: Duration = Duration::from_secs(20 * 60);

/// A Python that has the tools, and a folder for what they write.
pub(crate) struct Tools {
    python: OsString,
    folder: TempDir,
}

/// How one of them ended, and what it said.
struct Ran {
    passed: bool,
    said: String,
}

impl Tools {
    pub(crate) fn of_environment() -> Self {
        let python = std::env::var_os("WASMYARD_API_TOOLS");
        let python = python.expect("WASMYARD_API_TOOLS names a Python with the tools: run `make test-api`");
        Self { python, folder: tempfile::tempdir().expect("a folder") }
    }

    /// Has a document read by somebody who knows the specification.
    pub(crate) async fn validate(&self, document: &Answer) {
        let file = self.write(document);
        let ran =
            self.run("validator", |command| command.args(["-m", "openapi_spec_validator"]).arg(&file)).await;
        assert!(ran.passed, "{}", ran.said);
    }

    /// Holds every example against its schema; gives what does not fit, and what lacks one.
    pub(crate) async fn check_examples(&self, document: &Answer) -> Option<String> {
        let file = self.write(document);
        let script = repository().join("tests/examples.py");
        let script = script.canonicalize().expect("the script");
        let ran = self.run("examples", |command| command.arg(script).arg(&file)).await;
        (!ran.passed).then_some(ran.said)
    }

    /// Makes requests up for somebody with this token, and has all answers checked.
    pub(crate) async fn try_out(&self, caller: &str, document: &str, token: Option<String>) -> Report {
        let events = self.folder.path().join(format!("{caller}.ndjson"));
        let settings = repository().join("tests/schemathesis.toml").canonicalize().expect("the settings");
        let ran = self.run(caller, |command| {
            command.args(["-m", "schemathesis.cli", "--config-file"]).arg(settings);
            command.args(["run", document, "--no-color", "--report-ndjson-path"]).arg(&events);
            command.args(["--exclude-path-regex", "/(events|ws)$"]);
            if let Some(token) = token {
                command.args(["--header", &format!("Authorization: Bearer {token}")]);
            }
            command
        });
        let ran = ran.await;
        println!("==== as {caller} ====\n{}", ran.said);
        Report::read(caller, ran.passed, &events)
    }

    fn write(&self, document: &Answer) -> std::path::PathBuf {
        let file = self.folder.path().join("openapi.json");
        fs::write(&file, &document.body).expect("it is written");
        file
    }

    async fn run(&self, name: &str, form: impl FnOnce(&mut Command) -> &mut Command) -> Ran {
        let log = self.folder.path().join(format!("{name}.log"));
        let out = File::create(&log).expect("a file");
        let mut command = Command::new(&self.python);
        // What it remembers between runs would make the next one another one.
        command.current_dir(self.folder.path()).kill_on_drop(true);
        command.stdout(out.try_clone().expect("the same file")).stderr(out);
        let ended = tokio::time::timeout(RUN_MAX, form(&mut command).status()).await;
        let said = said(&log);
        let Ok(ended) = ended else { panic!("{name}: not done within {RUN_MAX:?}, and killed\n{said}") };
        Ran { passed: ended.expect("Python runs").success(), said }
    }
}

fn said(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).expect("what it said")).into_owned()
}
