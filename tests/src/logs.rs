//! What the host and its guests log in this process.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// The lines logged since the first test asked for them. The tests of a process share
/// them, so a test looks for those of its own request.
pub struct Logs(Mutex<Vec<Line>>);

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// How grave it is.
    pub level: Level,
    /// Where it comes from; `guest` for what a guest says or prints.
    pub target: String,
    /// Its text.
    pub message: String,
    /// Its fields.
    pub fields: BTreeMap<String, String>,
}

impl Logs {
    /// Begins to listen, if nobody has yet.
    ///
    /// # Panics
    /// When the process listens in another way already.
    pub fn capture() -> &'static Self {
        static LOGS: OnceLock<Logs> = OnceLock::new();
        let mut first = false;
        let logs = LOGS.get_or_init(|| {
            first = true;
            Self(Mutex::default())
        });
        if first {
            let subscriber = tracing_subscriber::registry().with(Capture(logs));
            tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
        }
        logs
    }

    /// What a guest said while it worked on a request.
    pub fn of_guest(&self, request_id: &str) -> Vec<Line> {
        self.of(request_id).into_iter().filter(|line| line.target == "guest").collect()
    }

    /// Every line about a request.
    pub fn of(&self, request_id: &str) -> Vec<Line> {
        self.with("request_id", request_id)
    }

    /// Every line that has a field of this value.
    pub fn with(&self, field: &str, value: &str) -> Vec<Line> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |line: &&Line| line.fields.get(field).is_some_and(|found| found == value);
        lines.iter().filter(has).cloned().collect()
    }
}

struct Capture(&'static Logs);

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::INFO {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            message: fields.0.remove("message").unwrap_or_default(),
            fields: fields.0,
        };
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}
