//! Waiting for something to become true, with a deadline that only a failure reaches.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// Generous, for a busy machine: a debug build compiles a component in ten seconds when it has
/// a core to itself.
const PATIENCE: Duration = Duration::from_secs(180);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks again and again until `look` gives a value.
///
/// # Panics
/// When it does not in time.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = within(what, look()).await {
            return value;
        }
        assert!(Instant::now() < give_up, "waited in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until something holds.
///
/// # Panics
/// When it does not in time.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}

/// Starts all of it at the same time. `join_all` gives the outcomes, in no certain order.
pub fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> JoinSet<T> {
    tasks.into_iter().collect()
}

/// Waits for what must end by itself.
///
/// # Panics
/// When it does not in time.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("no end within {} s: {what}", PATIENCE.as_secs()))
}
