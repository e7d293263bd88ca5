//! A steady load: each connection sends its next request when the last is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;

use tokio::task::JoinSet;

use crate::{Answer, Shop};

/// A load that runs until it is stopped.
pub struct Load {
    connections: JoinSet<Vec<Sample>>,
    stop: Arc<AtomicBool>,
}

/// One request of a load.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The path asked for.
    pub path: &'static str,
    /// When the request was begun to be sent.
    pub sent: SystemTime,
    /// When its answer was there.
    pub answered: SystemTime,
    /// The status, or why there was no answer.
    pub outcome: Result<u16, String>,
    /// The label of the version that answered, if one did.
    pub version: Option<String>,
}

impl Load {
    /// Asks over HTTPS for each of the paths, on a connection of its own.
    pub fn start(shop: &Shop, paths: &[&'static str]) -> Self {
        Self::at(&format!("https://localhost:{}", shop.https().port()), || shop.new_client(), paths)
    }

    /// Asks at an origin for each of the paths, with a client of its own. Within a runtime.
    pub fn at(origin: &str, client: impl Fn() -> reqwest::Client, paths: &[&'static str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut connections = JoinSet::new();
        for &path in paths {
            let (client, stop) = (client(), stop.clone());
            let url = format!("{origin}{path}");
            connections.spawn(async move {
                let mut samples = Vec::new();
                while !stop.load(Relaxed) {
                    samples.push(ask(&client, path, &url).await);
                }
                samples
            });
        }
        Self { connections, stop }
    }

    /// Ends it when every connection has its answer.
    pub async fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Relaxed);
        self.connections.join_all().await.into_iter().flatten().collect()
    }

    /// Ends it, and checks that each connection had answers, and only good ones.
    ///
    /// # Panics
    /// When it had not.
    pub async fn stop_unharmed(self) -> Vec<Sample> {
        let connections = self.connections.len();
        let samples = self.stop().await;
        assert!(samples.len() >= connections, "the load did not run");
        let failed: Vec<_> = samples.iter().filter(|sample| sample.outcome != Ok(200)).collect();
        assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), samples.len(), failed.first());
        samples
    }
}

async fn ask(client: &reqwest::Client, path: &'static str, url: &str) -> Sample {
    let sent = SystemTime::now();
    let response = client.get(url).send().await;
    let answer = match response {
        Ok(response) => Ok(Answer::read(response).await),
        Err(error) => Err(format!("{error:?}")),
    };
    let answered = SystemTime::now();
    let version =
        answer.as_ref().ok().filter(|answer| answer.status == 200).map(|answer| answer.version().to_owned());
    Sample { path, sent, answered, outcome: answer.map(|answer| answer.status.as_u16()), version }
}
