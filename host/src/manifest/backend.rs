//! `[postgres]` and `[redis]`, and the files that the manifest names.

use std::path::PathBuf;

use super::reader::{Reading, Table, Text};
use super::{Postgres, Redis};

/// Reads `[postgres]`.
pub(super) fn read_postgres(reading: &Reading<'_>, root: &Table<'_, '_>) -> Postgres {
    let absent = Postgres { url: None, migrations: None, sample_data: None };
    let Some(table) = root.table("postgres") else { return absent };
    let postgres = Postgres {
        url: table.text("url").map(|url| {
            // The driver's error may quote the string, so it is not passed on.
            if url.value.parse::<tokio_postgres::Config>().is_err() {
                let fault = reading.fault(&url.span, "`postgres.url` is no Postgres connection string");
                reading
                    .record(fault.help("for example: \"postgres://owner:password@db.internal:5432/shop\""));
            }
            url.value
        }),
        migrations: table.text("migrations").map(|text| existing_dir(reading, &text, "postgres.migrations")),
        sample_data: table
            .text("sample_data")
            .map(|text| existing_file(reading, &text, "postgres.sample_data")),
    };
    table.finish();
    postgres
}

/// Reads `[redis]`.
pub(super) fn read_redis(reading: &Reading<'_>, root: &Table<'_, '_>) -> Redis {
    let Some(table) = root.table("redis") else { return Redis { url: None } };
    let url = table.text("url").map(|url| {
        if redis::Client::open(url.value.as_str()).is_err() {
            let fault = reading.fault(&url.span, "`redis.url` is no Redis connection string");
            reading.record(fault.help("for example: \"redis://:password@cache.internal:6379/0\""));
        }
        url.value
    });
    table.finish();
    Redis { url }
}

/// A path from the manifest's folder that must be a file.
pub(super) fn existing_file(reading: &Reading<'_>, text: &Text, key: &str) -> PathBuf {
    let path = reading.dir.join(&text.value);
    if !path.is_file() {
        missing(reading, text, key, if path.exists() { "is not a file" } else { "does not exist" });
    }
    path
}

/// The same for a folder.
pub(super) fn existing_dir(reading: &Reading<'_>, text: &Text, key: &str) -> PathBuf {
    let path = reading.dir.join(&text.value);
    if !path.is_dir() {
        missing(reading, text, key, if path.exists() { "is not a folder" } else { "does not exist" });
    }
    path
}

fn missing(reading: &Reading<'_>, text: &Text, key: &str, what: &str) {
    let path = std::path::Path::new(&text.value);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = reading.dir.join(path.parent().unwrap_or(path));
    let present: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let fault = reading
        .fault(&text.span, format!("`{key}`: {} {what}", text.shown()))
        .nearest(&name, present.iter().map(String::as_str))
        .help("a relative path starts from the manifest's folder");
    reading.record(fault);
}
