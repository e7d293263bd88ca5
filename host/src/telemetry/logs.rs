//! Where log lines go: standard error, as text for a person or as JSON for a
//! collector.
//!
//! Three kinds of lines, told apart by their target: the host's own
//! (`wasmyard::…`), a guest's (`guest`, with its service, version and request id),
//! and one for each request (`access`). `WASMYARD_LOG` filters them, in the
//! syntax of `tracing_subscriber::EnvFilter`: `warn`, or `info,access=off`.
//!
//! No line holds a secret, whatever the filter: what the libraries below would tell of
//! statements' parameters and of header fields is left out.

use std::io::IsTerminal;

use anyhow::{Context, Result, bail};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::limits::LOG_LINES_WAITING_MAX;

/// The environment variable that filters log lines.
pub const FILTER_VAR: &str = "WASMYARD_LOG";
/// The environment variable that chooses between `human` and `json`, as `--log-format` does.
pub const FORMAT_VAR: &str = "WASMYARD_LOG_FORMAT";
/// What is logged when nothing else is said: everything from info upwards; the
/// libraries below the host only when they warn.
const FILTER_DEFAULT: &str = "warn,rustls=error,wasmyard=info,guest=info,access=info";

/// Libraries that at these levels and below tell what they send: parameters of statements,
/// fields of requests.
const CAPS: [&str; 6] =
    ["tokio_postgres=info", "h2=info", "hyper=info", "hyper_util=info", "reqwest=info", "tonic=info"];

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Human,
    Json,
}

/// Writes the lines that are still waiting when it is dropped.
pub type Flush = WorkerGuard;

/// Sets the logs up for this process: in this format, `human` or `json`, and filtered as the
/// environment says. To be called once, first of all; the value that it gives must live as
/// long as the process.
///
/// Lines are written by a thread of their own, so that a terminal or a pipe that does
/// not take them holds up no request. [`LOG_LINES_WAITING_MAX`] lines may wait; beyond
/// that lines are dropped.
///
/// # Errors
/// A filter or format that cannot be understood, or a second call.
pub fn init(wish: Option<&str>) -> Result<Flush> {
    let filter = filter(std::env::var(FILTER_VAR).ok().as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let (writer, flush) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_LINES_WAITING_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let done = match format(wish, terminal)? {
        Format::Human => lines.with_ansi(terminal).finish().try_init(),
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    done.context("logs are set up already")?;
    Ok(flush)
}

fn filter(wish: Option<&str>) -> Result<EnvFilter> {
    let wish = wish.filter(|wish| !wish.trim().is_empty()).unwrap_or(FILTER_DEFAULT);
    let filter =
        EnvFilter::try_new(wish).with_context(|| format!("{FILTER_VAR}: {wish:?} is not a filter"))?;
    // Up to info they say nothing of the kind, and the wish holds for them too.
    if filter.max_level_hint().is_some_and(|level| level <= LevelFilter::INFO) {
        return Ok(filter);
    }
    CAPS.iter().try_fold(filter, |filter, cap| Ok(filter.add_directive(cap.parse()?)))
}

fn format(wish: Option<&str>, terminal: bool) -> Result<Format> {
    Ok(match wish.unwrap_or_default() {
        "human" => Format::Human,
        "json" => Format::Json,
        "" if terminal => Format::Human,
        "" => Format::Json,
        other => bail!("{FORMAT_VAR}: {other:?} is neither \"human\" nor \"json\""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_and_a_pipe_json_unless_told_otherwise() {
        assert_eq!(format(None, true).unwrap(), Format::Human);
        assert_eq!(format(Some(""), false).unwrap(), Format::Json);
        assert_eq!(format(Some("json"), true).unwrap(), Format::Json);
        assert_eq!(format(Some("human"), false).unwrap(), Format::Human);
        assert!(format(Some("xml"), true).is_err());
    }

    #[test]
    fn a_filter_that_cannot_be_understood_is_an_error_and_not_silence() {
        assert!(filter(None).is_ok());
        assert!(filter(Some("info,access=off")).is_ok());
        assert!(filter(Some("access=loud")).is_err());
    }

    #[test]
    fn libraries_do_not_tell_what_they_send_whatever_is_asked_for() {
        for wish in ["trace", "debug,access=off", "info,tokio_postgres=trace"] {
            let shown = filter(Some(wish)).unwrap().to_string();
            assert!(CAPS.iter().all(|cap| shown.contains(cap)), "{shown}");
            assert!(!shown.contains("tokio_postgres=trace"), "{shown}");
        }
        assert!(!filter(Some("warn")).unwrap().to_string().contains("info"));
    }
}
