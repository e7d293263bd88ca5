//! `wasmyard:platform/log`, and what a guest prints: both become log lines with
//! service, version and request id, under one budget for each request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tracing::field;
use wasmtime::Result;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::bindings::wasmyard::platform::log;
use crate::limits::{LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crate::runtime::{Context, RequestId};
use crate::telemetry::trace::TraceId;

pub use crate::bindings::wasmyard::platform::log::Level;

/// The request has written more lines or bytes than it may; the guest is ended.
#[derive(Debug, thiserror::Error)]
#[error("more than {LOG_LINES_MAX} log lines or {LOG_BYTES_MAX} bytes of them in one request")]
pub struct LogLimitReached;

/// Where one instance's lines go. The WASI streams and the `log` interface share it.
#[derive(Clone)]
pub struct LogSink(Arc<Mutex<State>>);

struct State {
    service: Arc<str>,
    version: Arc<str>,
    request: Option<(RequestId, TraceId)>,
    lines_left: usize,
    bytes_left: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// The first line of a panic, which names its place; its message is the next.
    panic: Option<String>,
    listener: Option<Arc<dyn Listener>>,
}

/// A line that a guest logged or printed.
#[derive(Debug, Clone)]
pub struct Line {
    /// How bad it is.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// What was said beside it; none for a printed line.
    pub fields: Vec<(String, String)>,
}

/// Whoever else wants to hear what a guest logs, e.g. its test.
pub trait Listener: Send + Sync {
    /// Is given each line, in order.
    fn hear(&self, line: Line);
}

/// Which of the guest's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Lines at level info.
    Stdout,
    /// Lines at level warn; a panic at level error.
    Stderr,
}

impl LogSink {
    /// A sink for an instance of `service` at `version`.
    pub fn new(service: Arc<str>, version: Arc<str>, listener: Option<Arc<dyn Listener>>) -> Self {
        Self(Arc::new(Mutex::new(State {
            service,
            version,
            request: None,
            lines_left: LOG_LINES_MAX,
            bytes_left: LOG_BYTES_MAX,
            stdout: Vec::new(),
            stderr: Vec::new(),
            panic: None,
            listener,
        })))
    }

    /// Begins a request: its id and its trace's go onto each line, and its budget is whole
    /// again.
    pub fn begin(&self, request: &RequestId, trace: TraceId) {
        let mut state = self.lock();
        state.request = Some((*request, trace));
        state.lines_left = LOG_LINES_MAX;
        state.bytes_left = LOG_BYTES_MAX;
    }

    /// Ends a request: a line without a line break is written as it stands.
    pub fn end(&self) {
        self.lock().flush();
    }

    /// A line through the `log` interface. What is longer than a line may be is cut, and paid
    /// for in full.
    pub fn write(
        &self,
        level: Level,
        message: &str,
        fields: &[(String, String)],
    ) -> Result<(), LogLimitReached> {
        let bytes =
            message.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let mut state = self.lock();
        state.spend(bytes)?;
        if bytes <= LOG_LINE_BYTES_MAX {
            state.emit(level, message, fields);
        } else {
            let message = cut(message, LOG_LINE_BYTES_MAX);
            state.emit(level, message, &first_of(fields, LOG_LINE_BYTES_MAX - message.len()));
        }
        Ok(())
    }

    /// Bytes that the guest printed. Whole lines are written at once.
    pub fn print(&self, stream: Stream, bytes: &[u8]) -> Result<(), LogLimitReached> {
        self.lock().print(stream, bytes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn print(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), LogLimitReached> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line = match stream {
                Stream::Stdout => &mut self.stdout,
                Stream::Stderr => &mut self.stderr,
            };
            line.extend_from_slice(piece);
            if line.last() == Some(&b'\n') || line.len() >= LOG_LINE_BYTES_MAX {
                let line = std::mem::take(line);
                self.spend(line.len())?;
                self.line(stream, &line);
            }
        }
        Ok(())
    }

    fn flush(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = match stream {
                Stream::Stdout => std::mem::take(&mut self.stdout),
                Stream::Stderr => std::mem::take(&mut self.stderr),
            };
            self.line(stream, &line);
        }
        if let Some(place) = self.panic.take() {
            self.emit(Level::Error, &place, &[]);
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), LogLimitReached> {
        self.lines_left = self.lines_left.checked_sub(1).ok_or(LogLimitReached)?;
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(LogLimitReached)?;
        Ok(())
    }

    fn line(&mut self, stream: Stream, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        // std prints a panic as two lines, its place and its message, and then advises
        // an environment variable that a guest cannot have.
        if line.is_empty() || line.starts_with("note: run with `RUST_BACKTRACE=1`") {
            return;
        }
        if let Some(place) = self.panic.take() {
            return self.emit(Level::Error, &format!("{place} {line}"), &[]);
        }
        match stream {
            Stream::Stderr if line.starts_with("thread '") && line.contains("panicked at ") => {
                self.panic = Some(line.to_owned());
            }
            Stream::Stderr => self.emit(Level::Warn, line, &[]),
            Stream::Stdout => self.emit(Level::Info, line, &[]),
        }
    }

    fn emit(&self, level: Level, message: &str, fields: &[(String, String)]) {
        if let Some(listener) = &self.listener {
            listener.hear(Line { level, message: message.to_owned(), fields: fields.to_vec() });
        }
        let (service, version) = (&*self.service, &*self.version);
        let request_id = self.request.as_ref().map(|(id, _)| id.as_str());
        let trace_id = self.request.as_ref().map(|(_, trace)| field::display(trace));
        let fields = (!fields.is_empty()).then(|| {
            let object = fields.iter().map(|(name, value)| (name.clone(), value.clone().into()));
            serde_json::Value::Object(object.collect()).to_string()
        });
        // The level of an event is part of its static metadata, hence four macros.
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: "guest", tracing::Level::$level, service, version, request_id, trace_id, fields, "{message}"
                )
            };
        }
        match level {
            Level::Debug => event!(DEBUG),
            Level::Info => event!(INFO),
            Level::Warn => event!(WARN),
            Level::Error => event!(ERROR),
        }
    }
}

/// At most so many bytes, cut between characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The first of the fields, as many as fit into so many bytes, the last of them cut.
fn first_of(fields: &[(String, String)], mut bytes_max: usize) -> Vec<(String, String)> {
    let fit = |(name, value): &(String, String)| {
        let left = bytes_max.checked_sub(name.len()).filter(|left| *left > 0)?;
        let value = cut(value, left);
        bytes_max = left - value.len();
        Some((name.clone(), value.to_owned()))
    };
    fields.iter().map_while(fit).collect()
}

impl log::Host for Context {
    fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        Ok(self.log.write(level, &message, &fields)?)
    }
}

/// One of a guest's standard streams.
#[derive(Clone)]
pub struct PrintStream {
    /// Where its lines go.
    pub sink: LogSink,
    /// Which one it is.
    pub stream: Stream,
}

impl IsTerminal for PrintStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for PrintStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for PrintStream {
    async fn ready(&mut self) {}
}

impl OutputStream for PrintStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.sink.print(self.stream, &bytes).map_err(|reached| StreamError::Trap(reached.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LOG_LINE_BYTES_MAX)
    }
}

impl AsyncWrite for PrintStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let printed = self.sink.print(self.stream, bytes);
        Poll::Ready(printed.map(|()| bytes.len()).map_err(std::io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Heard(Mutex<Vec<Line>>);

    impl Listener for Heard {
        fn hear(&self, line: Line) {
            self.0.lock().unwrap().push(line);
        }
    }

    #[test]
    fn a_line_with_fields_is_no_longer_than_a_printed_one() {
        let heard = Arc::new(Heard(Mutex::default()));
        let sink = LogSink::new("users".into(), "0".into(), Some(heard.clone()));
        let field = |name: &str, bytes: usize| (name.to_owned(), "ü".repeat(bytes / 2));
        for (message_bytes, fields) in [
            (LOG_LINE_BYTES_MAX * 2, vec![field("a", 100)]),
            (100, vec![field("a", 100), field("b", LOG_LINE_BYTES_MAX), field("c", 100)]),
            (100, vec![field("a", 100), field("b", 100)]),
        ] {
            sink.write(Level::Info, &"ä".repeat(message_bytes / 2), &fields).unwrap();
        }
        let lines = heard.0.lock().unwrap();
        let bytes = |line: &Line| {
            line.message.len()
                + line.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        };
        assert!(lines.iter().all(|line| bytes(line) <= LOG_LINE_BYTES_MAX));
        let fields: Vec<_> = lines.iter().map(|line| line.fields.len()).collect();
        assert_eq!(fields, [0, 2, 2]);
        assert!(bytes(&lines[1]) > LOG_LINE_BYTES_MAX - 2 && bytes(&lines[2]) == 302);
        drop(lines);
        // What was cut off is paid for: 256 KiB are 16 such lines.
        let long = "a".repeat(LOG_LINE_BYTES_MAX * 2);
        let written = (0..100).take_while(|_| sink.write(Level::Info, &long, &[]).is_ok()).count();
        assert!(written < 17, "{written}");
    }
}
