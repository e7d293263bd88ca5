//! `[runtime]`.

use super::Runtime;
use super::reader::Table;
use crate::limits;

/// Reads `[runtime]`.
pub(super) fn read(root: &Table<'_, '_>) -> Runtime {
    let Some(table) = root.table("runtime") else { return Runtime::default() };
    let runtime =
        Runtime { instances_max: table.integer("instances_max", limits::INSTANCES, limits::INSTANCES_MAX) };
    table.finish();
    runtime
}

impl Default for Runtime {
    fn default() -> Self {
        Self { instances_max: limits::INSTANCES_MAX }
    }
}
