//! What the measurements of the platform share: a host as a process, its client, and
//! where results go.

mod client;
mod process;
mod result;
mod variant;

pub use client::Client;
pub use process::{HostProcess, Launch};
pub use result::{print_table, target_dir, workspace, write_json};
pub use variant::{guest, guest_path, variant};
