//! Where log lines go: standard error, as text for a person or as JSON for a
//! collector.
//!
//! Three kinds of lines, told apart by their target: the host's own
//! (`wasmyard::…`), a guest's (`guest`, with its service, version and request id),
//! and one for each request (`access`). `WASMYARD_LOG` filters them, in the
//! syntax of `tracing_subscriber::EnvFilter`: `warn`, or `info,access=off`.
//!
//! No line holds a secret, whatever the filter: what the libraries below would tell of
//! statements' parameters and of header fields is left out by a second filter, which no wish
//! reaches.

use std::io::IsTerminal;

use anyhow::{Context, Result, bail};
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::lines;

/// The environment variable that filters log lines.
pub const FILTER_VAR: &str = "WASMYARD_LOG";
/// The environment variable that chooses between `human` and `json`, as `--log-format` does.
pub const FORMAT_VAR: &str = "WASMYARD_LOG_FORMAT";
/// What is logged when nothing else is said: everything from info upwards; the
/// libraries below the host only when they warn.
const FILTER_DEFAULT: &str = "warn,rustls=error,wasmyard=info,guest=info,access=info";

/// Libraries that below info tell what they send: parameters of statements, fields of
/// requests, frames.
const TELLTALES: [&str; 8] =
    ["tokio_postgres", "h2", "hyper", "hyper_util", "reqwest", "tonic", "tungstenite", "tokio_tungstenite"];

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
/// not take them holds up no request. [`LOG_BYTES_WAITING_MAX`] bytes may wait; beyond that
/// lines are dropped.
///
/// [`LOG_BYTES_WAITING_MAX`]: crate::limits::LOG_BYTES_WAITING_MAX
///
/// # Errors
/// A filter or format that cannot be understood, or a second call.
pub fn init(wish: Option<&str>) -> Result<Flush> {
    let filter = filter(std::env::var(FILTER_VAR).ok().as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let format = format(wish, terminal)?;
    let (writer, flush) = lines::writer(std::io::stderr(), format == Format::Human, terminal);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let harmless = filter_fn(is_harmless);
    let done = match format {
        Format::Human => lines.with_ansi(terminal).finish().with(harmless).try_init(),
        Format::Json => lines.json().flatten_event(true).finish().with(harmless).try_init(),
    };
    done.context("logs are set up already")?;
    Ok(flush)
}

fn filter(wish: Option<&str>) -> Result<EnvFilter> {
    let wish = wish.filter(|wish| !wish.trim().is_empty()).unwrap_or(FILTER_DEFAULT);
    EnvFilter::try_new(wish).with_context(|| format!("{FILTER_VAR}: {wish:?} is not a filter"))
}

/// Whether a line may be written, if it is wished for. Of several wishes the one with the
/// longest target holds, so that no wish of the host's own would be sure to.
fn is_harmless(line: &Metadata<'_>) -> bool {
    *line.level() <= Level::INFO || !tells(line.target())
}

/// Whether a target is one of the libraries, or a module of one.
fn tells(target: &str) -> bool {
    let rest = TELLTALES.iter().filter_map(|name| target.strip_prefix(name));
    rest.into_iter().any(|rest| rest.is_empty() || rest.starts_with("::"))
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
        use tracing::{debug, info, subscriber, trace};

        for wish in [
            "trace",
            "info,tokio_postgres=trace",
            "info,tokio_postgres::query=debug,h2::codec=trace",
            "debug",
        ] {
            let (told, filter) = (Told::default(), filter(Some(wish)).unwrap());
            let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(told.clone());
            subscriber::with_default(lines.finish().with(filter_fn(is_harmless)), || {
                debug!(target: "tokio_postgres::query", "executing with parameters: secret");
                debug!(target: "tokio_postgres", "secret");
                trace!(target: "h2::codec::framed_read", "secret");
                debug!(target: "hyper_util::client", "secret");
                info!(target: "tokio_postgres::connection", "a notice");
                info!(target: "h2o", "another library");
            });
            let told = told.text();
            assert!(!told.contains("secret"), "{wish}: {told}");
            assert!(told.contains("a notice") && told.contains("another library"), "{wish}: {told}");
        }
        assert!(tells("h2") && tells("h2::codec") && !tells("h2o") && !tells("wasmyard"));
    }

    /// What was written.
    #[derive(Clone, Default)]
    struct Told(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Told {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl std::io::Write for Told {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl tracing_subscriber::fmt::MakeWriter<'_> for Told {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}
