//! How a command ends.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::manifest::ManifestErrors;

/// The exit codes, which scripts may rely on. From 64 on they are those of
/// `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The work itself failed: a build, a test, an unknown service.
    Failed = 1,
    /// Wrong usage; clap's own.
    Usage = 2,
    /// A component is at odds with its grants, or a deploy was turned down.
    Refused = 3,
    /// The manifest is wrong.
    Manifest = 64,
    /// No host can be reached.
    Unreachable = 69,
    /// An internal error.
    Internal = 70,
    /// A file or folder cannot be made.
    CannotCreate = 73,
    /// A file cannot be read or written.
    Io = 74,
}

impl Exit {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Refused,
        Self::Manifest,
        Self::Unreachable,
        Self::Internal,
        Self::CannotCreate,
        Self::Io,
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Why a command failed, in words for a person, and its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    exit: Exit,
    message: String,
    /// Members that only the JSON has.
    details: Value,
}

impl CliError {
    /// A failure.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), details: Value::Null }
    }

    /// A failure that the answer on standard output has told already.
    pub(super) fn told(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// The same with something for scripts.
    pub(super) fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Its exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Tells it, once, and turns into the exit code.
    pub(super) fn report(&self, json: bool) -> ExitCode {
        if self.message.is_empty() {
            return self.exit.into();
        }
        if json {
            let mut error = json!({ "exit": self.exit as u8, "message": self.message });
            if !self.details.is_null() {
                error["details"] = self.details.clone();
            }
            println!("{}", json!({ "error": error }));
        } else if self.message.starts_with("error: ") {
            eprintln!("{}", self.message);
        } else {
            eprintln!("error: {}", self.message);
        }
        self.exit.into()
    }
}

impl From<ManifestErrors> for CliError {
    fn from(errors: ManifestErrors) -> Self {
        let details = serde_json::to_value(&errors).unwrap_or_default();
        Self::new(Exit::Manifest, errors.to_string()).with_details(details)
    }
}
