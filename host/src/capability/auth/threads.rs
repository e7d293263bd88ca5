//! The threads that hash passwords.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Error;
use super::password::Memory;
use crate::limits::{PASSWORD_WAIT, PASSWORDS_WAITING_MAX, RETRY_AFTER};
use crate::runtime::lower_priority;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// Threads of low priority with a bounded queue. Dropped, they end after the hash that
/// each is at.
pub struct PasswordThreads {
    queue: SyncSender<Job>,
    wait: Duration,
}

impl PasswordThreads {
    /// Half as many threads as there are cores, and at least one: each gives way to the
    /// threads that serve, and has 19 MiB of its own.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with((cores / 2).max(1), PASSWORDS_WAITING_MAX, PASSWORD_WAIT)
    }

    fn with(threads: usize, waiting_max: usize, wait: Duration) -> anyhow::Result<Self> {
        let (queue, jobs) = sync_channel(waiting_max);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = jobs.clone();
            let thread = std::thread::Builder::new().name(format!("password-{number}"));
            thread.spawn(move || work(&jobs)).context("cannot start a thread for passwords")?;
        }
        Ok(Self { queue, wait })
    }

    /// Has a thread do some work, as soon as one is free. Work that nobody waits for any
    /// more, because its request or its time has ended, is not begun.
    ///
    /// # Errors
    /// [`Error::Busy`]: at once when the queue is full, and when the work is not done in
    /// time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        let job = move |memory: &mut Memory| {
            if !send.is_closed() {
                // Whoever waited may have gone meanwhile.
                let _ = send.send(work(memory));
            }
        };
        let busy = || Error::Busy(u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX));
        self.queue.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => busy(),
        })?;
        match timeout(self.wait, receive).await {
            Ok(Ok(done)) => Ok(done),
            _ => Err(busy()),
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    lower_priority();
    let mut memory = Memory::new();
    loop {
        // Held while it waits: one thread waits for the job, the others for the lock.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // The one who waits learns of a panic when its sender goes; the thread stays.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Reached only by a failure.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_password_that_waits_too_long_is_told_to_come_back() {
        let threads = PasswordThreads::with(1, 2, Duration::from_millis(1)).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        assert!(matches!(threads.run(move |_| gate.recv().is_ok()).await, Err(Error::Busy(_))));
        let (begun, begins) = mpsc::channel();
        // The thread is still at the first one, so this one's time ends in the queue.
        assert!(threads.run(move |_| begun.send(())).await.is_err());
        open.send(()).unwrap();
        assert!(begins.recv().is_err(), "it was not begun, and is gone");
    }

    #[tokio::test]
    async fn a_full_queue_is_told_at_once_and_the_rest_is_done_in_its_turn() {
        let threads = Arc::new(PasswordThreads::with(1, 2, PATIENCE).unwrap());
        let (open, gate) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let first = threads.clone();
        let first = tokio::spawn(async move {
            let held = move |_: &mut Memory| {
                let _ = begun.send(());
                gate.recv().is_ok()
            };
            first.run(held).await
        });
        begins.await.unwrap();
        // The thread is at work, so these two fill the queue, in this order.
        let mut waiting = Vec::new();
        for number in 0..2 {
            let mut run = Box::pin({
                let threads = threads.clone();
                async move { threads.run(move |_| number).await }
            });
            assert!(futures_util::poll!(&mut run).is_pending());
            waiting.push(run);
        }
        assert!(matches!(threads.run(|_| 3).await, Err(Error::Busy(1_000))));

        // One of them gives up: its work is not begun, and the other one's is.
        drop(waiting.remove(0));
        open.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert_eq!(waiting.remove(0).await.unwrap(), 1);
        assert_eq!(threads.run(|_| 4).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_begun() {
        let threads = PasswordThreads::with(1, 2, PATIENCE).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let mut held = Box::pin(threads.run(move |_| gate.recv().is_ok()));
        assert!(futures_util::poll!(&mut held).is_pending());
        let (begun, mut begins) = oneshot::channel();
        let mut given_up = Box::pin(threads.run(move |_| begun.send(())));
        assert!(futures_util::poll!(&mut given_up).is_pending());
        drop(given_up);
        open.send(()).unwrap();
        assert!(held.await.unwrap());
        assert_eq!(threads.run(|_| 5).await.unwrap(), 5);
        assert!(begins.try_recv().is_err());
    }
}
