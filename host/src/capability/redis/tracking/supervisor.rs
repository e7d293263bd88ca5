//! Keeps the connection for tracked reads, and listens whether Redis is still there.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, ErrorKind, PushInfo, RedisError, RedisResult};
use tokio::time::{sleep, timeout_at};

use super::super::Error;
use super::super::reply::classify;
use super::{Tracked, Tracking, within};
use crate::limits::{
    NEAR_PROBE_PERIOD, NEAR_REFUSED_PAUSE, NEAR_TRUST_MAX, REDIS_COMMAND_TIMEOUT, REDIS_CONNECT_TIMEOUT,
    REDIS_QUEUE_MAX, REDIS_RECONNECT_PAUSE_MAX,
};

/// The first pause before another attempt; doubled each time.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(25);

impl Tracking {
    /// Keeps a connection for as long as it is wanted.
    pub(super) async fn supervise(self: Arc<Self>) {
        let mut pause = RECONNECT_PAUSE_MIN;
        let mut told_refused = false;
        loop {
            let began = Instant::now();
            match self.connect().await {
                Ok(tracked) => {
                    told_refused = false;
                    self.serve(tracked).await;
                    if began.elapsed() > REDIS_RECONNECT_PAUSE_MAX {
                        pause = RECONNECT_PAUSE_MIN;
                    }
                }
                Err(error) if is_refusal(&error) => {
                    if !told_refused {
                        tracing::warn!(%error, "redis: no client-side caching here, every lookup asks Redis");
                    }
                    told_refused = true;
                    pause = NEAR_REFUSED_PAUSE;
                }
                Err(error) => {
                    // The shared connection fails likewise, and is the one to say so.
                    tracing::debug!(%error, "redis: no connection for tracked reads");
                    pause = pause.min(REDIS_RECONNECT_PAUSE_MAX);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(REDIS_RECONNECT_PAUSE_MAX);
        }
    }

    /// Lends the connection for as long as Redis is heard on it.
    async fn serve(&self, tracked: Tracked) {
        let (term, mut connection) = (tracked.term, tracked.connection.clone());
        let mut tracked = Some(Arc::new(tracked));
        loop {
            let asked = Instant::now();
            let answer = within(NEAR_TRUST_MAX, redis::cmd("PING").exec_async(&mut connection)).await;
            if let Err(error) = answer {
                tracing::debug!(%error, "redis: no answer on the connection for tracked reads");
                self.lose(term);
            }
            if !self.heard(term, asked, tracked.take()) {
                tracing::warn!("redis: the connection for tracked reads is lost, the near cache is empty");
                return;
            }
            // A call from an earlier connection only brings the next question forward.
            let _ = timeout_at((asked + NEAR_PROBE_PERIOD).into(), self.alarm.notified()).await;
        }
    }

    async fn connect(self: &Arc<Self>) -> RedisResult<Tracked> {
        let term = *self.lock_term();
        // The connection's own task must not keep alive what the connection belongs to.
        let tracking = Arc::downgrade(self);
        let told = move |push: PushInfo| -> Result<(), Infallible> {
            if let Some(tracking) = tracking.upgrade() {
                tracking.told(term, &push);
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_CONNECT_TIMEOUT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(REDIS_QUEUE_MAX)
            .set_push_sender(told);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = within(REDIS_CONNECT_TIMEOUT * 2, connecting).await?;
        let mut on = redis::cmd("CLIENT");
        on.arg("TRACKING").arg("ON");
        within(REDIS_COMMAND_TIMEOUT, on.exec_async(&mut connection)).await?;
        Ok(Tracked { term, connection })
    }
}

/// Redis answered, and said no: it, or a proxy before it, does not know the command or
/// does not allow it. (A server that is loading or busy is out of reach instead.)
fn is_refusal(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported || matches!(classify(error), (Error::Refused(_), _))
}
