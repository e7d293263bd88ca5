//! The two forms of a scrape: OpenMetrics 1.0, as `prometheus-client` writes it, and the
//! text format from before it, for whoever does not ask for the former.

use std::fmt::Write as _;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::ACCEPT;

use super::exemplars::Exemplar;

/// How a scrape is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
    /// The text format 0.0.4.
    Text,
}

impl Format {
    /// What a request's `Accept` asks for: the text format unless OpenMetrics is named.
    pub fn asked(headers: &HeaderMap) -> Self {
        let named = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok()).any(|field| {
            field.split(',').any(|range| {
                let mut parts = range.split(';').map(str::trim);
                parts.next() == Some("application/openmetrics-text")
                    && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
            })
        });
        if named { Self::OpenMetrics } else { Self::Text }
    }

    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Adds exemplars to the buckets of a family, which come in its order. The library writes
/// those of its own histograms alone, and these cost requests a lock.
pub(super) fn with_exemplars(openmetrics: &str, family: &str, exemplars: &[Option<Exemplar>]) -> String {
    let prefix = format!("{family}_bucket{{");
    let mut exemplars = exemplars.iter();
    let mut text = String::with_capacity(openmetrics.len() + 64 * exemplars.len());
    for line in openmetrics.lines() {
        text.push_str(line);
        if line.starts_with(&prefix)
            && let Some(Some(Exemplar { trace, took, at })) = exemplars.next()
        {
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = write!(
                text,
                " # {{trace_id=\"{trace}\"}} {:.6} {}.{:03}",
                took.as_secs_f64(),
                at.as_secs(),
                at.subsec_millis(),
            );
        }
        text.push('\n');
    }
    text
}

/// OpenMetrics without exemplars in the format from before it: a counter is named with its
/// `_total`, there are no infos, and no end is marked.
pub(super) fn as_text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => {}
            // It stands before the type, which decides on the name.
            (Some("#"), Some("HELP"), ..) => help = line,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    kind => ("", kind),
                };
                let said =
                    help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(name)).unwrap_or("");
                let _ = write!(text, "# HELP {name}{suffix}{said}\n# TYPE {name}{suffix} {kind}\n");
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn openmetrics_is_for_who_asks_for_it() {
        for (accept, format) in [
            (
                "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text;q=0.2", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            ("text/plain", Format::Text),
            ("*/*", Format::Text),
        ] {
            let headers = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(Format::asked(&headers), format, "{accept}");
        }
        assert_eq!(Format::asked(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn the_text_format_names_counters_in_full_and_has_no_infos() {
        let openmetrics = "# HELP a_b Bees.\n# TYPE a_b counter\n# UNIT a_b seconds\na_b_total 1\n\
                           # HELP c C.\n# TYPE c info\nc_info{v=\"1\"} 1\n# HELP d D.\n# TYPE d gauge\nd 2\n# EOF\n";
        let text = "# HELP a_b_total Bees.\n# TYPE a_b_total counter\na_b_total 1\n\
                    # HELP c_info C.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n# HELP d D.\n# TYPE d gauge\nd 2\n";
        assert_eq!(as_text(openmetrics), text);
    }
}
