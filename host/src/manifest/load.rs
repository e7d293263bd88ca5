//! From the file to the structs.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::fault::{Fault, ManifestErrors};
use super::reader::{Reading, Table};
use super::source::Source;
use super::{Manifest, auth, backend, conflict, pages, runtime, server, service, telemetry};
use crate::limits::MANIFEST_BYTES_MAX;

impl Manifest {
    /// Reads and checks a manifest. `env` looks an environment variable up.
    ///
    /// # Errors
    ///
    /// All faults together, in the order of the file.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ManifestErrors> {
        let of_file = |message: String| ManifestErrors {
            path: path.display().to_string(),
            faults: vec![Fault::of_file(message)],
        };
        let size = std::fs::metadata(path)
            .map_err(|error| of_file(format!("the manifest cannot be read: {error}")))?
            .len();
        if size > MANIFEST_BYTES_MAX {
            return Err(of_file(format!("the manifest has {size} bytes; {MANIFEST_BYTES_MAX} are allowed")));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| of_file(format!("the manifest cannot be read: {error}")))?;
        Self::parse(&text, path, env)
    }

    /// Checks a manifest's text. `path` is where it stands: errors name it, and
    /// relative paths start from its folder.
    ///
    /// # Errors
    ///
    /// As [`Manifest::load`].
    pub fn parse(
        text: &str,
        path: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ManifestErrors> {
        let reading = Reading {
            source: Source { text, path: path.display().to_string() },
            dir: dir_of(path),
            env,
            faults: RefCell::default(),
        };
        let manifest = read(&reading, path);
        let mut faults = reading.faults.into_inner();
        if faults.is_empty() {
            Ok(manifest)
        } else {
            faults.sort_by_key(|fault| (fault.line, fault.column));
            // A table that is read twice is also found wrong twice.
            faults.dedup();
            Err(ManifestErrors { path: reading.source.path, faults })
        }
    }
}

impl Manifest {
    /// `.wasmyard` beside the manifest: what the host keeps between two runs.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join(".wasmyard")
    }
}

/// Reads what can be read; the result is good only if no fault was recorded.
fn read(reading: &Reading<'_>, path: &Path) -> Manifest {
    let (document, errors) = DeTable::parse_recoverable(reading.source.text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        reading.record(reading.fault(&span, format!("not valid TOML: {}", error.message())));
    }
    // What follows a syntax error may be missing from the tree, and would be
    // reported as faults that are none.
    let empty = DeTable::new();
    let root = Table::root(reading, if errors.is_empty() { document.get_ref() } else { &empty });
    let runtime = runtime::read(&root);
    let services = service::read_all(reading, &root, &runtime);
    let manifest = Manifest {
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        dir: reading.dir.clone(),
        server: server::read(reading, &root),
        admin: server::read_admin(&root),
        postgres: backend::read_postgres(reading, &root),
        redis: backend::read_redis(reading, &root),
        auth: auth::read(reading, &root),
        pages: pages::read(reading, &root),
        runtime,
        telemetry: telemetry::read(reading, &root),
        services: services.iter().map(|read| (read.service.name.clone(), read.service.clone())).collect(),
    };
    conflict::check(reading, &root, &manifest, &services);
    root.finish();
    manifest
}

fn dir_of(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
