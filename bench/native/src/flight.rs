//! One fill of a key in this process, and the readers that wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

/// The fills under way. A key is here from its reader's first look at the source until
/// the value is sent to the store: who comes later looks the key up again.
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<String, Flight>>>);

type Flight = watch::Receiver<Option<Bytes>>;

/// What a reader that missed becomes.
pub(crate) enum Joined {
    /// The one that fills.
    Leader(Seat),
    /// One that waits.
    Waiter(Flight),
}

/// The leader's place. Dropped before [`Seat::land`], those that wait look again.
pub(crate) struct Seat {
    flights: Flights,
    key: String,
    handed: watch::Sender<Option<Bytes>>,
}

impl Flights {
    /// Joins the key's flight, or opens one.
    pub(crate) fn join(&self, key: &str) -> Joined {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key) {
            return Joined::Waiter(flight.clone());
        }
        let (handed, flight) = watch::channel(None);
        flights.insert(key.to_owned(), flight);
        Joined::Leader(Seat { flights: self.clone(), key: key.to_owned(), handed })
    }

    /// Readers that come after a write do not wait for a fill from before it.
    pub(crate) fn detach(&self, keys: &[String]) {
        let mut flights = self.lock();
        for key in keys {
            flights.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Nobody joins any more: the value is about to be stored.
    pub(crate) fn close(&self) {
        let mut flights = self.flights.lock();
        // After an invalidation there may be a later flight of the key.
        if flights.get(&self.key).is_some_and(|flight| flight.same_channel(&self.handed.subscribe())) {
            flights.remove(&self.key);
        }
    }

    /// Hands the stored value to those that wait.
    pub(crate) fn land(self, value: Bytes) {
        self.handed.send_replace(Some(value));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for a flight to land: its value, or `None` when it does not.
pub(crate) async fn landing(mut flight: Flight) -> Option<Bytes> {
    let landed = flight.wait_for(Option::is_some).await;
    landed.ok().and_then(|value| value.clone())
}
