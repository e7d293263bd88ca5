//! `h2load`: as many requests as a system answers over TLS and HTTP/2.

use anyhow::{Context as _, Result};

use wasmyard_bench::command::output;
use wasmyard_bench::cores::Cores;
use wasmyard_bench::sample::Sample;

/// Connections, each with [`STREAMS`] requests at once.
const CONNECTIONS: &str = "8";
const STREAMS: &str = "4";

/// Runs it for so many seconds.
///
/// # Errors
///
/// As for [`Wrk::run`](wasmyard_bench::wrk::Wrk::run).
pub(crate) fn run(cores: &Cores, url: &str, seconds: u64) -> Result<Sample> {
    let mut command = cores.generator("h2load");
    command.args(["--threads=1", "--clients", CONNECTIONS, "--max-concurrent-streams", STREAMS]);
    command.arg(format!("--duration={seconds}")).arg(url);
    let printed = output(&mut command)?;
    parse(&printed).with_context(|| format!("h2load printed:\n{printed}"))
}

fn parse(printed: &str) -> Option<Sample> {
    let line = |label: &str| printed.lines().find_map(|line| line.strip_prefix(label));
    let rate =
        line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()?;
    let counted = |line: &str, what: &str| -> Option<u64> {
        line.split(", ").find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    let (requests, statuses) = (line("requests:")?, line("status codes:")?);
    let succeeded = counted(requests, "succeeded")?;
    let wrong = [(requests, "failed"), (requests, "errored"), (requests, "timeout")]
        .into_iter()
        .chain([(statuses, "3xx"), (statuses, "4xx"), (statuses, "5xx")])
        .filter_map(|(line, what)| {
            Some(format!("{} {what}", counted(line, what).filter(|count| *count > 0)?))
        })
        .collect::<Vec<_>>();
    let errors = (!wrong.is_empty()).then(|| wrong.join(", "));
    Some(Sample { requests: succeeded, rate, p99: None, errors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(failed: u64, refused: u64) -> String {
        format!(
            "finished in 2.00s, 12345.50 req/s, 3.21MB/s\n\
             requests: 24691 total, 24691 started, 24691 done, 24691 succeeded, {failed} failed, 0 errored, 0 timeout\n\
             status codes: 24691 2xx, 0 3xx, 0 4xx, {refused} 5xx\n"
        )
    }

    #[test]
    fn what_h2load_prints_is_read() {
        let sample = parse(&printed(0, 0)).expect("a sample");
        assert_eq!(sample, Sample { requests: 24_691, rate: 12_345.5, p99: None, errors: None });
    }

    #[test]
    fn errors_are_never_lost() {
        let errors = parse(&printed(2, 3)).and_then(|sample| sample.errors);
        assert_eq!(errors.as_deref(), Some("2 failed, 3 5xx"));
    }
}
