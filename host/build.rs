//! Puts the guest library and the contract into the binary, for `wasmyard new` in a
//! folder that has neither.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let mut files = Vec::new();
    for dir in ["components/guest/src", "wit"] {
        println!("cargo::rerun-if-changed={}", root.join(dir).display());
        collect(&root.join(dir), &mut files)?;
    }
    files.push(root.join("components/guest/Cargo.toml"));
    files.sort();
    let mut code = String::from("pub(super) const LIBRARY: &[(&str, &str)] = &[\n");
    for file in &files {
        let name = file.strip_prefix(&root)?.display();
        writeln!(code, "    ({:?}, include_str!({:?})),", name.to_string(), file.display().to_string())?;
    }
    code.push_str("];\n");
    let workspace = root.join("Cargo.toml").display().to_string();
    writeln!(code, "pub(super) const WORKSPACE: &str = include_str!({workspace:?});")?;
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("library.rs"), code)?;
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
