//! `[pages]`.

use std::path::PathBuf;

use super::backend::existing_dir;
use super::reader::{Reading, Table};

/// Reads `[pages]`: the folder whose files are served as they are.
pub(super) fn read(reading: &Reading<'_>, root: &Table<'_, '_>) -> Option<PathBuf> {
    let table = root.table("pages")?;
    let folder = table.text("folder").map(|text| existing_dir(reading, &text, "pages.folder"));
    table.finish();
    folder
}
