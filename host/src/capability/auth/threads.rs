//! The threads that hash passwords.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::Error;
use super::password::Memory;
use crate::limits::{NEW_PASSWORDS_WAITING_MAX, PASSWORD_WAIT, PASSWORDS_WAITING_MAX, RETRY_AFTER};
use crate::runtime::lower_priority;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// Threads of low priority with a bounded queue, part of which is for logins alone. Dropped,
/// they end after the hash that each is at.
pub struct PasswordThreads {
    queue: SyncSender<Job>,
    /// The part of the queue that new passwords may have.
    new_passwords: Arc<Semaphore>,
    wait: Duration,
}

/// What a password is hashed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody logs in.
    Login,
    /// Somebody gets a password. Whoever makes account after account keeps others from that,
    /// and nobody from logging in.
    NewPassword,
}

impl PasswordThreads {
    /// Half as many threads as there are cores, and at least one: each gives way to the
    /// threads that serve, and has 19 MiB of its own.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let room = (PASSWORDS_WAITING_MAX, NEW_PASSWORDS_WAITING_MAX);
        Self::with((cores / 2).max(1), room, PASSWORD_WAIT)
    }

    /// `waiting_max` are all that may wait, and those of them that may be new passwords.
    fn with(threads: usize, waiting_max: (usize, usize), wait: Duration) -> anyhow::Result<Self> {
        let (waiting_max, new_max) = waiting_max;
        let (queue, jobs) = sync_channel(waiting_max);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = jobs.clone();
            let thread = std::thread::Builder::new().name(format!("password-{number}"));
            thread.spawn(move || work(&jobs)).context("cannot start a thread for passwords")?;
        }
        Ok(Self { queue, new_passwords: Arc::new(Semaphore::new(new_max)), wait })
    }

    /// Has a thread do some work, as soon as one is free. Work that nobody waits for any
    /// more, because its request or its time has ended, is not begun.
    ///
    /// # Errors
    /// [`Error::Busy`]: at once when the queue is full, or the part of it that is for this
    /// purpose, and when the work is not done in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        purpose: Purpose,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::Busy(u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX));
        let place = match purpose {
            Purpose::Login => None,
            Purpose::NewPassword => Some(self.new_passwords.clone().try_acquire_owned().map_err(|_| busy())?),
        };
        let (send, receive) = oneshot::channel();
        let job = move |memory: &mut Memory| {
            // Taken out of the queue, whether anybody waits for it or not.
            drop(place);
            if !send.is_closed() {
                // Whoever waited may have gone meanwhile.
                let _ = send.send(work(memory));
            }
        };
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

    use futures_util::poll;
    use tokio::task::JoinHandle;

    use super::*;

    /// Reached only by a failure.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn threads(waiting_max: usize, new_max: usize) -> Arc<PasswordThreads> {
        Arc::new(PasswordThreads::with(1, (waiting_max, new_max), PATIENCE).unwrap())
    }

    /// Has the thread begin something that it is at until the sender speaks.
    async fn occupied(threads: &Arc<PasswordThreads>) -> (mpsc::Sender<()>, JoinHandle<Result<bool, Error>>) {
        let (open, gate) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let held = move |_: &mut Memory| {
            let _ = begun.send(());
            gate.recv().is_ok()
        };
        let threads = threads.clone();
        let held = tokio::spawn(async move { threads.run(Purpose::Login, held).await });
        begins.await.unwrap();
        (open, held)
    }

    #[tokio::test]
    async fn a_password_that_waits_too_long_is_told_to_come_back() {
        let patient = threads(2, 2);
        let (open, held) = occupied(&patient).await;
        let (queue, new_passwords) = (patient.queue.clone(), patient.new_passwords.clone());
        let hasty = PasswordThreads { queue, new_passwords, wait: Duration::from_millis(1) };
        let (begun, begins) = mpsc::channel();
        // The thread is still at the first one, so this one's time ends in the queue.
        let late = hasty.run(Purpose::Login, move |_| begun.send(())).await;
        assert!(matches!(late, Err(Error::Busy(_))));
        open.send(()).unwrap();
        assert!(held.await.unwrap().unwrap());
        assert!(begins.recv().is_err(), "it was not begun, and is gone");
    }

    #[tokio::test]
    async fn a_full_queue_is_told_at_once_and_the_rest_is_done_in_its_turn() {
        let threads = threads(2, 2);
        let (open, first) = occupied(&threads).await;
        // The thread is at work, so these two fill the queue, in this order.
        let mut waiting = Vec::new();
        for number in 0..2 {
            let mut run = Box::pin(threads.run(Purpose::Login, move |_| number));
            assert!(poll!(&mut run).is_pending());
            waiting.push(run);
        }
        assert!(matches!(threads.run(Purpose::Login, |_| 3).await, Err(Error::Busy(1_000))));

        // One of them gives up: its work is not begun, and the other one's is.
        drop(waiting.remove(0));
        open.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert_eq!(waiting.remove(0).await.unwrap(), 1);
        assert_eq!(threads.run(Purpose::Login, |_| 4).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn new_passwords_leave_logins_their_part_of_the_queue() {
        let threads = threads(3, 2);
        let (open, first) = occupied(&threads).await;
        let mut made: Vec<_> =
            (0..2).map(|number| Box::pin(threads.run(Purpose::NewPassword, move |_| number))).collect();
        for new in &mut made {
            assert!(poll!(new).is_pending());
        }
        assert!(matches!(threads.run(Purpose::NewPassword, |_| 2).await, Err(Error::Busy(1_000))));
        let mut login = Box::pin(threads.run(Purpose::Login, |_| 3));
        assert!(poll!(&mut login).is_pending(), "there is room for it");
        // Whoever gives up has their place until their turn comes, as in the queue.
        drop(made.remove(0));
        assert!(threads.run(Purpose::NewPassword, |_| 4).await.is_err());

        open.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert_eq!(made.remove(0).await.unwrap(), 1);
        assert_eq!(login.await.unwrap(), 3);
        assert_eq!(threads.run(Purpose::NewPassword, |_| 5).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_begun() {
        let threads = threads(2, 2);
        let (open, held) = occupied(&threads).await;
        let (begun, mut begins) = oneshot::channel();
        let mut given_up = Box::pin(threads.run(Purpose::Login, move |_| begun.send(())));
        assert!(poll!(&mut given_up).is_pending());
        drop(given_up);
        open.send(()).unwrap();
        assert!(held.await.unwrap().unwrap());
        assert_eq!(threads.run(Purpose::Login, |_| 5).await.unwrap(), 5);
        assert!(begins.try_recv().is_err());
    }
}
