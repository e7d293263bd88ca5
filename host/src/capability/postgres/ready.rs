//! A database that was started along with the host is not there at once.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

use super::connection::error_chain;
use crate::limits::{POSTGRES_CONNECT_TIMEOUT, POSTGRES_START_WAIT};

/// Between two attempts: a fraction of the time in which a server starts.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until the database at `owner_url` takes connections, for at most
/// [`POSTGRES_START_WAIT`]. `waiting` is told of each new reason to wait.
///
/// # Errors
/// It takes none in that time. Or it answers, and refuses its owner (a wrong password, no
/// such database), which no waiting would mend.
pub async fn wait_until_ready(owner_url: &str, waiting: impl Fn(&str)) -> Result<()> {
    let mut config = Config::from_str(owner_url).context("postgres.url is not a connection string")?;
    config.application_name("wasmyard/ready").connect_timeout(POSTGRES_CONNECT_TIMEOUT);
    let give_up = Instant::now() + POSTGRES_START_WAIT;
    let mut told = String::new();
    loop {
        let why = match timeout(POSTGRES_CONNECT_TIMEOUT * 2, config.connect(NoTls)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if !is_starting(&error) => {
                bail!("cannot connect to the database: {}", error_chain(&error))
            }
            Ok(Err(error)) => error_chain(&error),
            Err(_) => "it does not answer".to_owned(),
        };
        if Instant::now() >= give_up {
            bail!("the database takes no connections after {} s: {why}", POSTGRES_START_WAIT.as_secs());
        }
        if told != why {
            waiting(&why);
            told = why;
        }
        sleep(PAUSE).await;
    }
}

/// Whether this may be a server on its way up: nobody answers, or one does that is not ready.
fn is_starting(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|code| {
        [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::TOO_MANY_CONNECTIONS]
            .contains(code)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::testing::servers::TestPostgres;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_that_starts_late_is_waited_for_and_one_that_refuses_its_owner_is_not() {
        let server = TestPostgres::start();
        let url = server.database();
        let reasons = AtomicU32::new(0);
        wait_until_ready(&url, |_| _ = reasons.fetch_add(1, Relaxed)).await.expect("it is there");
        assert_eq!(reasons.load(Relaxed), 0);

        server.kill();
        // It comes back once somebody has been told that it is waited for.
        let waiting = wait_until_ready(&url, |_| {
            if reasons.fetch_add(1, Relaxed) == 0 {
                server.resume();
            }
        });
        waiting.await.expect("it is there again");
        assert!(reasons.load(Relaxed) > 0);

        let stranger = url.replace("owner-password", "another-password");
        assert_ne!(stranger, url);
        let refused = wait_until_ready(&stranger, |why| panic!("nothing to wait for: {why}")).await;
        assert!(format!("{:#}", refused.expect_err("refused")).contains("password"));
    }
}
