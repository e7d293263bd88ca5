//! From a component's file to machine code: checks, compilation, and the code kept on
//! disk.

use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::refusal::Refusal;
use crate::capability::{grants, wasi};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::manifest::Grants;

/// The contract's package, and the version of it that this host speaks.
const PLATFORM: &str = "wasmyard:platform/";
const HANDLER: &str = "wasmyard:platform/http-handler@1.0.0";
/// What any component may import: types alone, and what a guest says of its own span.
const UNGRANTED: [&str; 2] = ["wasmyard:platform/http-types@1.0.0", "wasmyard:platform/trace@1.0.0"];

/// A component's SHA-256, as 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest(Arc<str>);

impl Digest {
    /// The digest of a component's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self(hex.into())
    }

    /// A digest that was written down.
    pub fn parse(hex: &str) -> Option<Self> {
        let valid = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| Self(hex.into()))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12: what people see.
    pub fn label(&self) -> Arc<str> {
        self.0[..12].into()
    }
}

/// Compiled code, ready to be linked for any service. Cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    /// What it was compiled from.
    pub digest: Digest,
    /// The code.
    pub component: Component,
}

impl Compiled {
    /// The platform's interfaces that it imports, in the component's order.
    pub fn platform_imports(&self) -> Vec<String> {
        let world = self.component.component_type();
        let imports = world.imports(self.component.engine()).map(|(import, _)| import.to_owned());
        imports
            .filter(|import| import.starts_with(PLATFORM) && !UNGRANTED.contains(&import.as_str()))
            .collect()
    }
}

/// Compiles components, and keeps both them and their code in the state folder.
pub struct ComponentStore {
    engine: wasmtime::Engine,
    components: PathBuf,
    code: PathBuf,
    /// Code is bound to wasmtime's version, its settings and the machine's CPU.
    compatibility: u64,
}

impl ComponentStore {
    /// A store in `state_dir`, which is made if it is missing.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn new(engine: &wasmtime::Engine, state_dir: &Path) -> anyhow::Result<Self> {
        let components = state_dir.join("components");
        let code = state_dir.join("compiled");
        for dir in [&components, &code] {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { engine: engine.clone(), components, code, compatibility: hasher.finish() })
    }

    /// Checks that the bytes are a component, and gives its code: from disk if it is
    /// there, compiled otherwise. Takes the calling thread for up to a few seconds.
    ///
    /// # Errors
    /// [`Refusal`] when the bytes are no component or do not validate, or when the code
    /// cannot be kept.
    pub fn load(&self, bytes: &[u8]) -> Result<Compiled, Refusal> {
        check_is_component(bytes)?;
        let digest = Digest::of(bytes);
        if let Some(component) = self.code_on_disk(&digest) {
            return Ok(Compiled { digest, component });
        }
        let component =
            Component::new(&self.engine, bytes).map_err(|error| Refusal::Invalid(format!("{error:#}")))?;
        self.keep(&digest, bytes, &component).map_err(Refusal::Host)?;
        Ok(Compiled { digest, component })
    }

    /// A component that was loaded before.
    ///
    /// # Errors
    /// [`Refusal::Host`] when its file is gone.
    pub fn reload(&self, digest: &Digest) -> Result<Compiled, Refusal> {
        if let Some(component) = self.code_on_disk(digest) {
            return Ok(Compiled { digest: digest.clone(), component });
        }
        let path = self.components.join(format!("{}.wasm", digest.as_str()));
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
        let bytes = bytes.map_err(Refusal::Host)?;
        if Digest::of(&bytes) != *digest {
            return Err(Refusal::Host(anyhow::anyhow!("{} is damaged", path.display())));
        }
        self.load(&bytes)
    }

    /// Deletes what no service can go back to.
    pub fn prune(&self, keep: &std::collections::HashSet<Digest>) {
        for dir in [&self.components, &self.code] {
            let Ok(entries) = std::fs::read_dir(dir) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let digest = path.file_stem().and_then(|stem| stem.to_str());
                let digest = digest.and_then(|stem| Digest::parse(stem.split('-').next().unwrap_or(stem)));
                if digest.is_some_and(|digest| !keep.contains(&digest)) {
                    // Deleting is tidiness; a file that stays is deleted next time.
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }

    fn code_path(&self, digest: &Digest) -> PathBuf {
        self.code.join(format!("{}-{:016x}.cwasm", digest.as_str(), self.compatibility))
    }

    fn code_on_disk(&self, digest: &Digest) -> Option<Component> {
        let path = self.code_path(digest);
        if !path.exists() {
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "the file is this host's own, in a folder that only its user can write"
        )]
        // SAFETY: the file was written by `keep`, moved into place whole, under a name that
        // carries the compatibility hash of this engine.
        let component = unsafe { Component::deserialize_file(&self.engine, &path) };
        component.inspect_err(|error| tracing::warn!("compiling again, {}: {error:#}", path.display())).ok()
    }

    fn keep(&self, digest: &Digest, bytes: &[u8], component: &Component) -> anyhow::Result<()> {
        write_whole(&self.components.join(format!("{}.wasm", digest.as_str())), bytes)?;
        write_whole(&self.code_path(digest), &component.serialize().map_err(opaque)?)
    }
}

/// Checks a component's imports against its grants, and that it exports the handler.
///
/// # Errors
/// [`Refusal::NotGranted`] with the line to add, [`Refusal::UnknownImport`],
/// [`Refusal::NoHandler`].
pub fn check_contract(compiled: &Compiled, service: &str, given: &Grants) -> Result<(), Refusal> {
    let engine = compiled.component.engine();
    let world = compiled.component.component_type();
    let mut missing = Vec::new();
    for (import, _) in world.imports(engine) {
        if wasi::is_allowed(import) || UNGRANTED.contains(&import) {
            continue;
        }
        let known = import.strip_prefix(PLATFORM).and_then(|rest| {
            let (interface, version) = rest.split_once('@')?;
            let grant = grants::interfaces(given).into_iter().find(|(name, ..)| *name == interface)?;
            (version == "1.0.0").then_some(grant)
        });
        match known {
            None => return Err(Refusal::UnknownImport(import.to_owned())),
            Some((_, true, _)) => {}
            Some((_, false, line)) => missing.push((import.to_owned(), line.replace("NAME", service))),
        }
    }
    if !missing.is_empty() {
        return Err(Refusal::NotGranted { service: service.to_owned(), missing });
    }
    let handler = world.exports(engine).find(|(name, _)| *name == HANDLER);
    match handler.map(|(_, item)| item.ty) {
        Some(ComponentItem::ComponentInstance(_)) => Ok(()),
        _ => Err(Refusal::NoHandler),
    }
}

/// The preamble tells a component from a core module: the same magic, then version
/// 0x0d and layer 1 (component model, binary format, "preamble").
fn check_is_component(bytes: &[u8]) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::NotAComponent(why.to_owned()));
    if bytes.len() > COMPONENT_BYTES_MAX {
        return refuse(&format!("{} bytes, more than the {COMPONENT_BYTES_MAX} allowed", bytes.len()));
    }
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => {
            refuse("a core WebAssembly module; build it for the target wasm32-wasip2")
        }
        Some([0, b'a', b's', b'm', ..]) => refuse("a WebAssembly file of a version that is not known here"),
        _ => refuse("not a WebAssembly file"),
    }
}

/// wasmtime's error as the host's opaque one.
pub(super) fn opaque(error: wasmtime::Error) -> anyhow::Error {
    anyhow::Error::from_boxed(error.into_boxed_dyn_error())
}

/// Writes a file so that a reader sees all of it or nothing, also after a crash.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().context("a path without a folder")?;
    let write = || -> anyhow::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
