//! Builds every component that the tests use, and writes where each one is.
//!
//! The list of test components becomes the macro `foreach_test_component!`; a test file
//! checks with it that each one has a test, or does not compile.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const SERVICES: [&str; 3] = ["users", "products", "orders"];

fn main() {
    // Asked when the script runs: one build folder may serve several checkouts.
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = package.join("..");
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // A folder of its own: the usual one is locked by the cargo that runs this program.
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let target_dir = out_dir.ancestors().nth(4).expect("OUT_DIR is deep in the target folder").join("guests");

    for watched in ["components", "tests/components", "wit", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    build(&root, &target_dir);

    let test_components = programs(&root.join("tests/components/src/bin"));
    let mut code = String::new();
    for name in test_components.iter().map(String::as_str).chain(SERVICES) {
        let path = target_dir.join(format!("wasm32-wasip2/component/{name}.wasm"));
        assert!(path.is_file(), "{} was not built", path.display());
        writeln!(code, "/// The component `{name}`.").expect("a string takes it");
        writeln!(code, "pub const {}: &str = {path:?};", name.to_uppercase()).expect("a string takes it");
    }
    let checks: String = test_components.iter().map(|name| format!("$check! {{ {name} }} ")).collect();
    writeln!(
        code,
        "/// Expands `$check! {{ name }}` for each test component.\n\
         #[macro_export]\n\
         macro_rules! foreach_test_component {{ ($check:ident) => {{ {checks} }} }}"
    )
    .expect("a string takes it");
    std::fs::write(out_dir.join("components.rs"), code).expect("OUT_DIR can be written");
}

fn build(root: &Path, target_dir: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo.current_dir(root).args(["build", "--quiet", "--profile", "component", "--target", "wasm32-wasip2"]);
    cargo.arg("--target-dir").arg(target_dir).args(["--package", "test-components"]);
    for service in SERVICES {
        cargo.args(["--package", service]);
    }
    // These are meant for the build machine's target, or for clippy's own run.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER"] {
        cargo.env_remove(variable);
    }
    let status = cargo.status().expect("cargo runs");
    assert!(
        status.success(),
        "the components do not build; the target is added by `rustup target add wasm32-wasip2`"
    );
}

fn programs(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder of the test components");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}
