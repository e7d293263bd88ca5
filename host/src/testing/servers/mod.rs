//! Real servers for tests: a Postgres and a Redis in folders of their own, on free
//! ports of the loopback interface.
//!
//! A server is gone, and its folder with it, when its value is dropped and when the
//! test process ends, in whatever way. What may go wrong here ends the test: these
//! functions panic.

mod port;
mod postgres;
mod reaper;
mod redis;

use std::time::{Duration, Instant};

pub use port::free_port;
pub use postgres::TestPostgres;
pub use redis::TestRedis;

/// How long a server may take to start or stop: generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at whether it has.
const PAUSE: Duration = Duration::from_millis(10);

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        std::thread::sleep(PAUSE);
    }
}
