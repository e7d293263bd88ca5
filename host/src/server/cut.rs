//! The end of an answer whose client does not take it.
//!
//! hyper asks a body for more only when the client has taken what came before, so the body
//! cannot end an answer that has stalled. What runs the answer can, by ending itself: the
//! connection of HTTP/1, or one stream of HTTP/2, whose connection goes on.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::task_local;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

task_local! {
    /// What the work at hand is cut by. Boxed, because nearly no answer has it.
    static CUT: RefCell<Option<Pin<Box<WaitForCancellationFutureOwned>>>>;
}

pin_project! {
    struct Cuttable<F> {
        #[pin]
        work: F,
    }
}

/// Does work that may end itself with [`cut_by`]. `None` when it was cut.
pub(super) fn cuttable<F: Future>(work: F) -> impl Future<Output = Option<F::Output>> {
    CUT.scope(RefCell::new(None), Cuttable { work })
}

/// From here on, the work that this is called in is dropped when the token is cancelled.
pub(super) fn cut_by(token: CancellationToken) {
    // Outside such work there is nothing to cut.
    let _ = CUT.try_with(|cut| cut.replace(Some(Box::pin(token.cancelled_owned()))));
}

impl<F: Future> Future for Cuttable<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(done) = self.project().work.poll(cx) {
            return Poll::Ready(Some(done));
        }
        CUT.with(|cut| match &mut *cut.borrow_mut() {
            Some(cut) => cut.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        })
    }
}

/// Runs the streams of HTTP/2, each as a task that can be cut. h2 resets a stream that is
/// dropped before its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        tokio::spawn(cuttable(stream));
    }
}
