//! `[runtime]`.

use super::Runtime;
use super::reader::Table;
use crate::limits;

/// Reads `[runtime]`.
pub(super) fn read(root: &Table<'_, '_>) -> Runtime {
    let Some(table) = root.table("runtime") else { return Runtime::default() };
    let runtime = Runtime {
        instances_max: table.integer("instances_max", limits::INSTANCES, limits::INSTANCES_MAX),
        hosts: table.integer("hosts", limits::HOSTS, 1),
        rate_limit_wait: table.millis(
            "rate_limit_wait_ms",
            limits::RATE_LIMIT_WAITS_MS,
            limits::RATE_LIMIT_WAIT,
        ),
    };
    table.finish();
    runtime
}

impl Default for Runtime {
    fn default() -> Self {
        Self { instances_max: limits::INSTANCES_MAX, hosts: 1, rate_limit_wait: limits::RATE_LIMIT_WAIT }
    }
}
