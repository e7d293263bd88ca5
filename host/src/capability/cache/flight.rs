//! One fill of a key on this host, and the readers that wait for it.
//!
//! Invariant: a value is handed over only to readers that had joined before its
//! store was sent. A later one may have come after an invalidation that the store
//! missed by a moment, and looks the key up again instead.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The fills of this host by key. A key is here only while its fill is held.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, Flight>>);

#[derive(Default)]
struct Flight {
    /// Tells this flight from an earlier one of the same key.
    id: u64,
    waiting: VecDeque<Waiter>,
    /// The store has been sent.
    storing: bool,
}

struct Waiter {
    reply: oneshot::Sender<Handed>,
    /// Joined before the store was sent.
    early: bool,
}

/// What a waiting reader is given.
pub(super) enum Handed {
    /// The value, and its time to live in milliseconds.
    Value(Arc<[u8]>, u64),
    /// The fill: the reader before gave up.
    Seat(Seat),
    /// Look again.
    Again,
    /// The store went away.
    Bypass,
}

/// What a reader that missed gets.
pub(super) enum Joined {
    Leader(Seat),
    Waiter(oneshot::Receiver<Handed>),
}

/// The leader's place in a flight. Dropped, it goes to the next reader that waits,
/// or the flight ends.
pub(super) struct Seat {
    flights: Arc<Flights>,
    key: String,
    id: u64,
    /// The token that the flight's store will show; none until it has been taken.
    pub(super) token: Option<String>,
    /// Nothing is left to hand over.
    finished: bool,
}

impl Flights {
    /// Joins the key's flight, or opens one.
    pub(super) fn join(self: &Arc<Self>, key: &str) -> Joined {
        let mut flights = self.lock();
        if let Some(flight) = flights.get_mut(key) {
            let (reply, receiver) = oneshot::channel();
            // Readers whose time ran out leave their place behind.
            flight.waiting.retain(|waiter| !waiter.reply.is_closed());
            flight.waiting.push_back(Waiter { reply, early: !flight.storing });
            return Joined::Waiter(receiver);
        }
        let id = next_id();
        flights.insert(key.to_owned(), Flight { id, ..Flight::default() });
        Joined::Leader(Seat { flights: self.clone(), key: key.to_owned(), id, token: None, finished: false })
    }

    /// Ends the flights of these keys: whoever waits looks again, and whoever fills
    /// fills for nobody.
    pub(super) fn detach(&self, keys: &[String]) {
        let detached: Vec<_> = {
            let mut flights = self.lock();
            keys.iter().filter_map(|key| flights.remove(key)).collect()
        };
        for flight in detached {
            flight.end(|_| Handed::Again);
        }
    }

    /// Flights at this moment.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Readers that wait for a key.
    #[cfg(test)]
    pub(super) fn waiting(&self, key: &str) -> usize {
        let live = |flight: &Flight| flight.waiting.iter().filter(|waiter| !waiter.reply.is_closed()).count();
        self.lock().get(key).map_or(0, live)
    }

    /// A flight's own entry, unless it has been detached.
    fn of<'a>(flights: &'a mut HashMap<String, Flight>, seat: &Seat) -> Option<&'a mut Flight> {
        flights.get_mut(&seat.key).filter(|flight| flight.id == seat.id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn end(self, handed: impl Fn(&Waiter) -> Handed) {
        for waiter in self.waiting {
            let handed = handed(&waiter);
            // A reader that has gone needs nothing.
            let _ = waiter.reply.send(handed);
        }
    }
}

impl Seat {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The store is about to be sent: who joins from now on is not handed its value.
    pub(super) fn storing(&self) {
        if let Some(flight) = Flights::of(&mut self.flights.lock(), self) {
            flight.storing = true;
        }
    }

    /// The value is in the store.
    pub(super) fn stored(&mut self, value: &[u8], ttl_ms: u64) {
        if let Some(flight) = self.leave() {
            let value: Arc<[u8]> = value.into();
            flight.end(
                |waiter| {
                    if waiter.early { Handed::Value(value.clone(), ttl_ms) } else { Handed::Again }
                },
            );
        }
    }

    /// The key was written, or the store's outcome is unknown.
    pub(super) fn superseded(&mut self) {
        if let Some(flight) = self.leave() {
            flight.end(|_| Handed::Again);
        }
    }

    /// The store is out of reach.
    pub(super) fn lost(&mut self) {
        if let Some(flight) = self.leave() {
            flight.end(|_| Handed::Bypass);
        }
    }

    /// Takes the flight off the map; nothing if it was detached.
    fn leave(&mut self) -> Option<Flight> {
        self.finished = true;
        let mut flights = self.flights.lock();
        Flights::of(&mut flights, self)?;
        flights.remove(&self.key)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let storing = Flights::of(&mut self.flights.lock(), self).is_some_and(|flight| flight.storing);
        if storing {
            // The reader was ended in the middle of its store.
            return self.superseded();
        }
        self.finished = true;
        let mut flights = self.flights.lock();
        let Some(flight) = Flights::of(&mut flights, self) else { return };
        let Some(next) = flight.waiting.pop_front() else {
            flights.remove(&self.key);
            return;
        };
        drop(flights);
        let seat = Seat {
            flights: self.flights.clone(),
            key: std::mem::take(&mut self.key),
            id: self.id,
            token: self.token.take(),
            finished: false,
        };
        // If the next one has gone, the seat comes back in the error, is dropped
        // there, and goes to the one after.
        let _ = next.reply.send(Handed::Seat(seat));
    }
}

fn next_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_joins_during_the_store_is_not_handed_its_value() {
        let flights = Arc::new(Flights::default());
        let Joined::Leader(mut seat) = flights.join("k") else { panic!("the first leads") };
        let Joined::Waiter(early) = flights.join("k") else { panic!("the second waits") };
        seat.storing();
        let Joined::Waiter(late) = flights.join("k") else { panic!("the third waits") };
        seat.stored(b"v", 5);
        assert!(matches!(early.await, Ok(Handed::Value(value, 5)) if *value == *b"v"));
        assert!(matches!(late.await, Ok(Handed::Again)));
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn a_leader_ended_in_the_middle_of_its_store_hands_nothing_over() {
        let flights = Arc::new(Flights::default());
        let Joined::Leader(seat) = flights.join("k") else { panic!("the first leads") };
        let Joined::Waiter(waits) = flights.join("k") else { panic!("the second waits") };
        seat.storing();
        drop(seat);
        assert!(matches!(waits.await, Ok(Handed::Again)), "perhaps it is stored: it must look");
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn a_detached_leader_does_not_end_the_next_flight() {
        let flights = Arc::new(Flights::default());
        let Joined::Leader(mut old) = flights.join("k") else { panic!("the first leads") };
        flights.detach(&["k".to_owned()]);
        let Joined::Leader(new) = flights.join("k") else { panic!("a flight of its own") };
        old.stored(b"old", 5);
        assert_eq!(flights.len(), 1);
        drop(new);
        assert_eq!(flights.len(), 0);
    }
}
