//! Running other programs.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// What a program prints.
///
/// # Errors
///
/// It cannot be started, or fails; the error has what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.with_context(|| format!("{program} cannot be started; is it installed?"))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{program}: {}: {}", ran.status, said.trim());
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// A command that the kernel ends with this process, in whatever way that ends, and that
/// may open as many sockets as this user's processes may.
pub fn bound(signal: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "sh", "-c", r#"ulimit -n "$(ulimit -H -n)" && exec "$@""#, "sh"]);
    command.arg(program);
    command
}
