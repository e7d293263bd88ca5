//! The threads that hash passwords.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Error;
use super::password::Memory;
use crate::limits::{NEW_PASSWORDS_WAITING_MAX, PASSWORD_WAIT, PASSWORDS_WAITING_MAX, RETRY_AFTER};
use crate::runtime::lower_priority;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// Threads of low priority with a bounded queue for each purpose, which have their turn one
/// after the other: whoever makes account after account keeps others from that, and nobody
/// from logging in. Dropped, they end after the hash that each is at.
pub struct PasswordThreads {
    queues: Arc<Queues>,
    wait: Duration,
}

/// What a password is hashed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody logs in.
    Login,
    /// Somebody gets a password.
    NewPassword,
}

/// Jobs that wait for a thread.
struct Queues {
    waiting: Mutex<Waiting>,
    /// Told of each job that comes, and of the end.
    changed: Condvar,
    logins_max: usize,
    new_max: usize,
}

#[derive(Default)]
struct Waiting {
    logins: VecDeque<Job>,
    new: VecDeque<Job>,
    /// Whether a new password has its turn before a login.
    is_news_turn: bool,
    is_over: bool,
}

impl PasswordThreads {
    /// Half as many threads as there are cores, and at least one: each gives way to the
    /// threads that serve, and has 19 MiB of its own.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let queues = Queues::new(PASSWORDS_WAITING_MAX, NEW_PASSWORDS_WAITING_MAX);
        Self::with((cores / 2).max(1), queues, PASSWORD_WAIT)
    }

    fn with(threads: usize, queues: Queues, wait: Duration) -> anyhow::Result<Self> {
        let queues = Arc::new(queues);
        for number in 0..threads {
            let queues = queues.clone();
            let thread = std::thread::Builder::new().name(format!("password-{number}"));
            thread.spawn(move || work(&queues)).context("cannot start a thread for passwords")?;
        }
        Ok(Self { queues, wait })
    }

    /// Has a thread do some work, as soon as one is free. Work that nobody waits for any
    /// more, because its request or its time has ended, is not begun.
    ///
    /// # Errors
    /// [`Error::Busy`]: at once when the queue of this purpose is full, and when the work is
    /// not done in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        purpose: Purpose,
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
        if !self.queues.push(purpose, Box::new(job)) {
            return Err(busy());
        }
        match timeout(self.wait, receive).await {
            Ok(Ok(done)) => Ok(done),
            _ => Err(busy()),
        }
    }
}

impl Drop for PasswordThreads {
    fn drop(&mut self) {
        self.queues.lock().is_over = true;
        self.queues.changed.notify_all();
    }
}

impl Queues {
    fn new(logins_max: usize, new_max: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), logins_max, new_max }
    }

    /// False when the queue is full.
    fn push(&self, purpose: Purpose, job: Job) -> bool {
        let mut waiting = self.lock();
        let (queue, most) = match purpose {
            Purpose::Login => (&mut waiting.logins, self.logins_max),
            Purpose::NewPassword => (&mut waiting.new, self.new_max),
        };
        let has_room = queue.len() < most;
        if has_room {
            queue.push_back(job);
            self.changed.notify_one();
        }
        has_room
    }

    /// Waits for the next job; `None` at the end.
    fn pop(&self) -> Option<Job> {
        let mut waiting = self.lock();
        while !waiting.is_over {
            if let Some(job) = waiting.take_next() {
                return Some(job);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take_next(&mut self) -> Option<Job> {
        self.is_news_turn = !self.is_news_turn;
        match self.is_news_turn {
            true => self.new.pop_front().or_else(|| self.logins.pop_front()),
            false => self.logins.pop_front().or_else(|| self.new.pop_front()),
        }
    }
}

fn work(queues: &Queues) {
    lower_priority();
    let mut memory = Memory::new();
    while let Some(job) = queues.pop() {
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

    fn threads(logins_max: usize, new_max: usize) -> Arc<PasswordThreads> {
        Arc::new(PasswordThreads::with(1, Queues::new(logins_max, new_max), PATIENCE).unwrap())
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
        let hasty = PasswordThreads { queues: patient.queues.clone(), wait: Duration::from_millis(1) };
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
    async fn new_passwords_leave_logins_their_room_and_every_second_turn() {
        let threads = threads(3, 2);
        let (open, first) = occupied(&threads).await;
        let (done, order) = mpsc::channel();
        let run = |purpose, name: &'static str| {
            let done = done.clone();
            Box::pin(threads.run(purpose, move |_| done.send(name)))
        };
        let mut waiting = vec![run(Purpose::NewPassword, "new 1"), run(Purpose::NewPassword, "new 2")];
        waiting.extend(["login 1", "login 2", "login 3"].map(|name| run(Purpose::Login, name)));
        for run in &mut waiting {
            assert!(poll!(run).is_pending());
        }
        for purpose in [Purpose::Login, Purpose::NewPassword] {
            assert!(matches!(threads.run(purpose, |_| ()).await, Err(Error::Busy(1_000))));
        }
        open.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        for run in waiting {
            run.await.unwrap().unwrap();
        }
        let mut order: Vec<_> = order.try_iter().collect();
        assert_eq!(order.split_off(4), ["login 3"]);
        order[..2].sort_unstable();
        order[2..].sort_unstable();
        assert_eq!(order, ["login 1", "new 1", "login 2", "new 2"]);
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
