//! What a version has said of its API, kept from the moment that it has said it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::{Description, Unanswered};
use crate::limits::{DESCRIPTION_PAUSE, DESCRIPTION_PAUSE_MAX};

/// An answer is kept for the version's life, which never changes. A failure is one of a
/// moment, such as a host that was busy: the version is asked again, after a pause that grows.
#[derive(Default)]
pub(in crate::runtime) struct Known {
    answer: OnceCell<Option<Arc<Description>>>,
    failed: Mutex<Option<Failed>>,
}

/// The last of some failures in a row.
#[derive(Clone, Copy)]
struct Failed {
    pause: Duration,
    until: Instant,
}

impl Known {
    /// What is known; else what the version says now. Those who come while it is asked wait
    /// for its answer, and those who come in the pause after a failure are told nothing.
    pub(in crate::runtime) async fn get(
        &self,
        ask: impl Future<Output = Result<Option<Arc<Description>>, Unanswered>>,
    ) -> Option<Arc<Description>> {
        let asked = self.answer.get_or_try_init(|| async move {
            let before = *self.failed();
            if before.is_some_and(|failed| Instant::now() < failed.until) {
                return Err(());
            }
            ask.await.map_err(|why| {
                let pause = before.map_or(DESCRIPTION_PAUSE, |failed| failed.pause * 2);
                let pause = pause.min(DESCRIPTION_PAUSE_MAX);
                *self.failed() = Some(Failed { pause, until: Instant::now() + pause });
                tracing::warn!(pause_s = pause.as_secs(), "{why}; it is asked again after a pause");
            })
        });
        asked.await.ok().cloned().flatten()
    }

    fn failed(&self) -> MutexGuard<'_, Option<Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use http::StatusCode;
    use serde_json::Map;

    use super::super::Why;
    use super::*;
    use crate::runtime::VersionName;

    async fn fail() -> Result<Option<Arc<Description>>, Unanswered> {
        Err(Unanswered { version: "users@1".to_owned(), why: Why::Status(StatusCode::BAD_GATEWAY) })
    }

    impl Known {
        /// Ends the pause, and tells how long it would have been.
        fn end_pause(&self) -> Duration {
            let mut failed = self.failed();
            let failed = failed.as_mut().expect("there is a pause");
            failed.until = Instant::now();
            failed.pause
        }
    }

    #[tokio::test]
    async fn a_failure_is_asked_again_and_an_answer_is_not() {
        let (known, answered) = (Known::default(), Cell::new(0));
        let version = VersionName::new(&Arc::from("users"), "1".into());
        let description = Arc::new(Description { version, document: Map::new() });
        let answer = async || {
            answered.set(answered.get() + 1);
            Ok(Some(description.clone()))
        };
        assert!(known.get(fail()).await.is_none());
        assert!(known.get(answer()).await.is_none(), "nobody is asked in the pause");
        assert_eq!(known.end_pause(), DESCRIPTION_PAUSE);
        assert!(known.get(fail()).await.is_none());
        assert_eq!(known.end_pause(), DESCRIPTION_PAUSE * 2);
        for _ in 0..2 {
            assert!(known.get(answer()).await.is_some_and(|known| Arc::ptr_eq(&known, &description)));
        }
        assert_eq!(answered.get(), 1);
    }

    #[tokio::test]
    async fn that_there_is_none_is_an_answer_too() {
        let known = Known::default();
        assert!(known.get(async { Ok(None) }).await.is_none());
        assert!(known.get(fail()).await.is_none());
        assert!(known.failed().is_none(), "it is not asked again");
    }

    #[tokio::test]
    async fn the_pause_has_an_end() {
        let known = Known::default();
        let mut pause = Duration::ZERO;
        for _ in 0..20 {
            assert!(known.get(fail()).await.is_none());
            pause = known.end_pause();
        }
        assert_eq!(pause, DESCRIPTION_PAUSE_MAX);
    }
}
