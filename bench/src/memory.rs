//! What the systems hold of the machine's memory.

use anyhow::Result;

use crate::lines::{Load, Side};
use crate::metrics;
use crate::report::{Held, Memories};
use crate::systems::Systems;
use wasmyard_bench::cores::Cores;
use wasmyard_bench::process::Process;
use wasmyard_bench::wrk::Wrk;

/// Requests at once that have to wait for Postgres: each of them holds an instance.
const WAITING: usize = 64;
/// Connections of the load under which memory is looked at.
const LOADED: usize = 512;

/// Looks at both at rest, at what a warm instance adds, and at both under a load of some
/// seconds. Nothing has been asked of them before.
///
/// # Errors
///
/// A system has ended, or does not answer.
pub(crate) fn look(systems: &Systems, cores: &Cores, seconds: u64) -> Result<Memories> {
    let wasmyard = &systems.wasmyard;
    let (wasmyard_rest, native_rest) = (held(&wasmyard.process)?, held(&systems.native.process)?);
    let url = wasmyard.url("users", "/api/v1/users/1")?;
    let past_cache = ["cache-control: no-cache"];
    let load = |connections| {
        let load = Wrk { url: &url, connections, seconds: 1, script: None, headers: &past_cache };
        load.run(cores)?.clean()
    };
    // The first run makes what there is once, so that the second adds instances alone.
    load(1)?;
    let (few, little) = (metrics::instances(wasmyard.admin)?, held(&wasmyard.process)?);
    load(WAITING)?;
    let (instances, much) = (metrics::instances(wasmyard.admin)?, held(&wasmyard.process)?);
    let added = instances.saturating_sub(few);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let instance_kib = (added > 0).then(|| much.rss_kib.saturating_sub(little.rss_kib) as f64 / added as f64);
    let loaded =
        |side: Side| under_load(side.process(systems), &side.url(systems, Load::Same)?, seconds, cores);
    let wasmyard_load = loaded(Side::Wasmyard("users", "/api/v1/users/1"))?;
    let native_load = loaded(Side::Native("/api/v1/users/1"))?;
    Ok(Memories { wasmyard_rest, native_rest, wasmyard_load, native_load, instances, instance_kib })
}

/// Looks at a process in the middle of a load over many connections.
///
/// # Errors
///
/// The load fails, or the process has ended.
fn under_load(process: &Process, url: &str, seconds: u64, cores: &Cores) -> Result<Held> {
    let load = Wrk { url, connections: LOADED, seconds, script: None, headers: &[] };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| load.run(cores)?.clean());
        std::thread::sleep(std::time::Duration::from_secs(seconds) / 2);
        let held = held(process);
        running.join().map_err(|_| anyhow::anyhow!("the load broke off"))??;
        held
    })
}

fn held(process: &Process) -> Result<Held> {
    let memory = process.memory()?;
    Ok(Held { rss_kib: memory.rss_kib, pss_kib: memory.pss_kib })
}
