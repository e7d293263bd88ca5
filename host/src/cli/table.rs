//! Short aligned tables, and the answers on standard output.

use std::io::Write;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{CliError, Exit};

/// Columns aligned by blanks, without lines: easy to read, and to cut with `awk`.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.set_header(head);
    aligned(table, rows)
}

/// The same without a line of names.
pub(super) fn pairs(rows: impl IntoIterator<Item = [String; 2]>) -> String {
    aligned(Table::new(), rows)
}

fn aligned<const N: usize>(mut table: Table, rows: impl IntoIterator<Item = [String; N]>) -> String {
    table.load_style(presets::NOTHING).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A time of day where the reader is.
pub(super) fn local_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Milliseconds as a person reads them.
pub(super) fn millis(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// Writes an answer to standard output. A reader that has gone (`| head`) is no
/// failure.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Io, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes an answer as one JSON document.
pub(super) fn print_json(answer: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string_pretty(answer)
        .map_err(|error| CliError::new(Exit::Internal, format!("the answer is not valid JSON: {error}")))?;
    print(&(json + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let rows = [["users".into(), "12".into()], ["a".into(), String::new()]];
        assert_eq!(table(["SERVICE", "N"], rows), "SERVICE  N\nusers    12\na\n");
    }

    #[test]
    fn small_times_have_a_decimal() {
        assert_eq!(
            (millis(0.04), millis(9.94), millis(123.4)),
            ("0.0 ms".into(), "9.9 ms".into(), "123 ms".into())
        );
    }
}
