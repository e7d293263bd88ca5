//! `background` of a service.

use super::Background;
use super::rate_limit::period;
use super::reader::{Reading, Table};

/// Reads it.
pub(super) fn read(reading: &Reading<'_>, service: &Table<'_, '_>) -> Option<Background> {
    let table = service.table("background")?;
    let every =
        table.required_text("every", "\"1s\"").and_then(|text| period(reading, &table, "every", &text));
    table.finish();
    every.map(|every| Background { every })
}
