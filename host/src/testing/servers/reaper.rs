//! Cleans up after a test process, however it ends.
//!
//! A parent-death signal would not do: it comes when the *thread* ends that started
//! the server, and a test runner's threads end all the time. A small shell waits on a
//! pipe instead, which the kernel closes when the process is gone.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Kills the process whose id stands in the first line of a file, and removes a
/// folder, once it is dropped.
pub(super) struct Reaper(Child);

const SCRIPT: &str = r#"
read -r _
if read -r pid _ < "$1"; then
  kill -QUIT "$pid"
  n=0
  while kill -0 "$pid" && [ "$n" -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
  kill -KILL "$pid"
fi 2>/dev/null
# Whatever is still dying may write once more.
n=0
while rm -rf "$2"; [ -e "$2" ] && [ "$n" -lt 50 ]; do sleep 0.1; n=$((n + 1)); done 2>/dev/null
"#;

impl Reaper {
    pub(super) fn new(pid_file: &Path, folder: &Path) -> Self {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "reaper"])
            .args([pid_file, folder])
            // A signal to the test's whole group must not reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("a shell"))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
