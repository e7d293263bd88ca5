//! Orders as sagas: nothing is lost, made up or done twice, whoever dies and when.
//!
//! `make test-saga` runs the long form: 20 runs of the buyers and 300 kills at random.

mod boundaries;
mod buyers;
mod idempotency;
mod kills;
mod lines;
mod turns;

use std::time::{Duration, Instant};

use wasmyard_tests::{Books, Program, Project, until};

/// Every saga has ended this long after a restart. It is asserted in the long form alone, for
/// which a machine should have nothing else to do; otherwise what the machine has no part in is.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// Whether the long form was asked for.
fn long() -> bool {
    std::env::var_os("WASMYARD_TEST_SAGA").is_some()
}

/// A seed, from the environment or a new one. It is printed: what a failed run did can be
/// done again.
fn seed() -> u64 {
    let given = std::env::var("WASMYARD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("WASMYARD_TEST_SEED={seed}");
    seed
}

/// A project of the real program over this database and Redis.
fn project(database: &str, redis: &str) -> Project {
    let mut project = Project::new();
    project.set_env("DATABASE_URL", database);
    project.set_env("REDIS_URL", redis);
    // Roles belong to a whole server, which the tests of a process share; so they share the
    // secret that the roles' passwords are derived from.
    let state = project.dir().join(".wasmyard");
    std::fs::create_dir_all(&state).expect("the state folder");
    std::fs::write(state.join("role-secret"), "0123456789abcdef".repeat(4)).expect("the secret");
    project
}

/// Where the orders of a project's program are, whichever one runs.
fn orders_of(project: &Project) -> String {
    let [_, _, orders] = project.ports();
    format!("http://127.0.0.1:{orders}/api/v1/orders")
}

/// A client of a service's own port, which speaks plain HTTP.
fn client() -> reqwest::Client {
    // It wants one all the same. The first test sets it; the others find it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Starts the program, with the services' own ports.
fn up(project: &Project) -> Program<'_> {
    let program = project.up(&["--local"]);
    assert!(program.ready()["services"][0]["direct_port"].is_number(), "{}", program.ready());
    program
}

/// Waits until every saga has ended that there is now, and gives the time since `restarted`.
async fn ended(books: &Books, restarted: Instant) -> Duration {
    let now = books.now().await;
    books.due_soon().await;
    until("every saga has ended", async || {
        books.balance().await;
        let all = books.sagas_before(now).await == 0;
        if !all {
            // The host has more use for the machine.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        all
    })
    .await;
    let took = restarted.elapsed();
    assert!(!long() || took < ENDED_WITHIN, "the last saga has ended after {took:?}");
    took
}
