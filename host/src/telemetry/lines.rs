//! Lines on their way to standard error: each stays one line, and those that wait have a
//! bound in bytes.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::limits::{LOG_BYTES_WAITING_MAX, LOG_LINES_WAITING_MAX};

/// What the shortest line counts for: its place in the queue takes room too, and so the
/// queue never has more lines than places.
const LINE_BYTES_MIN: usize = LOG_BYTES_WAITING_MAX / LOG_LINES_WAITING_MAX;

/// What begins a further line of the same message, as no line of its own begins.
const CONTINUED: &str = "\n    | ";

/// Gives each line a writer. One call of [`Write::write`] is one line.
#[derive(Clone)]
pub(super) struct Lines {
    queue: NonBlocking,
    waiting: Arc<AtomicUsize>,
    /// Lines are for people, and what a message holds must not look like a line of its own.
    plain: bool,
    /// The host colours them itself.
    coloured: bool,
}

/// The thread's end of the queue.
struct Drain<W> {
    to: W,
    waiting: Arc<AtomicUsize>,
}

/// A writer in front of a thread that writes to `to`. `plain` lines are for people to read;
/// `coloured` ones have the escapes of a terminal in them.
pub(super) fn writer(to: impl Write + Send + 'static, plain: bool, coloured: bool) -> (Lines, WorkerGuard) {
    let waiting = Arc::<AtomicUsize>::default();
    let (queue, flush) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_LINES_WAITING_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(Drain { to, waiting: waiting.clone() });
    (Lines { queue, waiting, plain, coloured }, flush)
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let told = if self.plain { one(line, self.coloured) } else { Cow::Borrowed(line) };
        let weight = weight(&told);
        if self.waiting.fetch_add(weight, Relaxed) + weight > LOG_BYTES_WAITING_MAX {
            self.waiting.fetch_sub(weight, Relaxed);
            return Ok(line.len());
        }
        self.queue.write_all(&told)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.queue.flush()
    }
}

impl<W: Write> Write for Drain<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.waiting.fetch_sub(weight(line), Relaxed);
        self.to.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn weight(line: &[u8]) -> usize {
    line.len().max(LINE_BYTES_MIN)
}

/// A line in which a message cannot begin another one, nor move a terminal's cursor: what
/// somebody else has put into it is shown as it is.
fn one(line: &[u8], coloured: bool) -> Cow<'_, [u8]> {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, "\n"),
        None => (line, ""),
    };
    let text = String::from_utf8_lossy(text);
    let told = |c: char| c == '\t' || !c.is_control() || (coloured && c == '\u{1b}');
    if text.chars().all(told) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str(CONTINUED),
            c if told(c) => shown.push(c),
            c => shown.extend(c.escape_default()),
        }
    }
    shown.push_str(end);
    Cow::Owned(shown.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn shown(line: &str, coloured: bool) -> String {
        String::from_utf8(one(line.as_bytes(), coloured).into_owned()).unwrap()
    }

    #[test]
    fn a_message_cannot_look_like_a_line_of_its_own() {
        for (line, expected) in [
            ("12:00 INFO guest: all is well\n", "12:00 INFO guest: all is well\n"),
            ("guest: a\n12:00 INFO access: forged\n", "guest: a\n    | 12:00 INFO access: forged\n"),
            ("guest: a\r12:00 forged\n", "guest: a\\r12:00 forged\n"),
            ("guest: a\u{1b}[2Jb\u{9b}c\u{7f}\n", "guest: a\\u{1b}[2Jb\\u{9b}c\\u{7f}\n"),
            ("a\tb, größer\n", "a\tb, größer\n"),
        ] {
            assert_eq!(shown(line, false), expected);
        }
        assert_eq!(shown("\u{1b}[32mINFO\u{1b}[0m a\rb\n", true), "\u{1b}[32mINFO\u{1b}[0m a\\rb\n");
    }

    /// Takes a line for each word that it is sent.
    struct Slow(Mutex<Receiver<()>>, Arc<AtomicUsize>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // Nobody who sends any more: the rest goes at once.
            let _ = self.0.lock().unwrap().recv();
            self.1.fetch_add(line.len(), Relaxed);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_takes_are_bounded_in_bytes() {
        let (go, wait) = channel();
        let written = Arc::<AtomicUsize>::default();
        let (mut lines, flush) = writer(Slow(Mutex::new(wait), written.clone()), false, false);
        let long = vec![b'a'; LOG_BYTES_WAITING_MAX / 8];
        for _ in 0..20 {
            assert_eq!(lines.write(&long).unwrap(), long.len());
        }
        assert!(lines.waiting.load(Relaxed) <= LOG_BYTES_WAITING_MAX);
        drop(go);
        drop(flush);
        let written = written.load(Relaxed);
        assert!((7..=9).contains(&(written / long.len())), "{written} bytes of {} each", long.len());
        assert_eq!(lines.waiting.load(Relaxed), 0, "there is room again");
    }
}
