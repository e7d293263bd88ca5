//! A first look at a component's file.

use std::path::Path;

use crate::limits::COMPONENT_BYTES_MAX;

/// `\0asm`, and the version and layer that make it a component (component model,
/// binary format, preamble).
const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
/// The same for a core module.
const MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

/// Reads a file that looks like a component.
///
/// # Errors
///
/// What is wrong with it, as the end of a sentence that begins with its name.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > COMPONENT_BYTES_MAX as u64 {
        return Err(format!("has {size} bytes; a component may have {COMPONENT_BYTES_MAX}"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    match bytes.first_chunk() {
        Some(&COMPONENT) => Ok(bytes),
        Some(&MODULE) => {
            Err("is a core module, not a component: build it with --target wasm32-wasip2".to_owned())
        }
        _ => Err("is no WebAssembly component".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_told_from_a_module_and_from_anything_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("x.wasm");
        let look = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a file");
            read(&path).map(|bytes| bytes.len())
        };
        assert_eq!(look(b"\0asm\x0d\0\x01\0rest"), Ok(12));
        assert!(look(b"\0asm\x01\0\0\0").is_err_and(|error| error.contains("wasm32-wasip2")));
        assert!(look(b"#!/bin/sh\n").is_err_and(|error| error.contains("no WebAssembly")));
        assert!(look(b"").is_err());
        assert!(read(dir.path()).is_err());
    }
}
