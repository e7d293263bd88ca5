//! The standard WASI interfaces that Rust's standard library imports, given in the
//! emptiest form there is: no files, no sockets, no environment, no arguments.

use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use super::log::{LogSink, PrintStream, Stream};

/// Packages and interfaces that any component may import. `wasi:filesystem` is
/// among them because the standard library asks for its preopened folders, of which
/// there are none; `wasi:sockets` and `wasi:http` are not.
const ALLOWED: [&str; 5] = ["wasi:cli/", "wasi:clocks/", "wasi:io/", "wasi:random/", "wasi:filesystem/"];

/// Whether a component may import `interface`, e.g. `wasi:io/streams@0.2.6`, without
/// a grant.
pub fn is_allowed(interface: &str) -> bool {
    ALLOWED.iter().any(|package| interface.starts_with(package))
}

/// What one instance sees of WASI.
pub fn context(log: &LogSink) -> WasiCtx {
    WasiCtxBuilder::new()
        .stdout(PrintStream { sink: log.clone(), stream: Stream::Stdout })
        .stderr(PrintStream { sink: log.clone(), stream: Stream::Stderr })
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}
