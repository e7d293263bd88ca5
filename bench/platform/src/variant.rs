//! Components that differ, and do the same.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::target_dir;

/// The bytes of a guest that `make` has built.
///
/// # Errors
/// It was not built.
pub fn guest(name: &str) -> anyhow::Result<Vec<u8>> {
    let path = guest_path(name);
    std::fs::read(&path).with_context(|| format!("cannot read {}; `make` builds it first", path.display()))
}

/// Where that guest lies.
pub fn guest_path(name: &str) -> PathBuf {
    target_dir().join(format!("wasm32-wasip2/component/{name}.wasm"))
}

/// The same component under another digest: with a custom section (binary format of the
/// component model, section 0) that says `mark`. So it is compiled, stored and loaded by
/// itself.
///
/// # Panics
/// When `mark` is longer than 100 bytes.
pub fn variant(component: &[u8], mark: &str) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    let size = 1 + NAME.len() + mark.len();
    assert!(size < 128, "a length of one LEB128 byte");
    let mut bytes = component.to_vec();
    #[expect(clippy::cast_possible_truncation, reason = "both are below 128")]
    bytes.extend([0, size as u8, NAME.len() as u8]);
    bytes.extend_from_slice(NAME);
    bytes.extend_from_slice(mark.as_bytes());
    bytes
}
