//! How many subscribers there may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::refusal;
use crate::limiter::Client;
use crate::problem::Problem;

/// The subscribers of one topic on one host, counted by client.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    per_client_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_client: HashMap<Client, usize>,
}

/// A subscriber's place.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    client: Client,
}

impl Places {
    pub(super) fn new(max: usize, per_client_max: usize) -> Self {
        Self { max, per_client_max, taken: Mutex::default() }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 429 when the client has all that it may have, 503 when the host has.
    pub(super) fn take(self: &Arc<Self>, client: Client) -> Result<Place, Problem> {
        let mut taken = self.lock();
        if taken.all >= self.max {
            return Err(refusal::full());
        }
        let of_client = taken.by_client.get(&client).copied().unwrap_or_default();
        if of_client >= self.per_client_max {
            return Err(refusal::client_has_all(self.per_client_max));
        }
        taken.all += 1;
        taken.by_client.insert(client.clone(), of_client + 1);
        drop(taken);
        Ok(Place { places: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // The counts are right after every step.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        match taken.by_client.get_mut(&self.client) {
            Some(of_client) if *of_client > 1 => *of_client -= 1,
            _ => {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_client_and_altogether_and_come_back() {
        let places = Arc::new(Places::new(3, 2));
        let take = |user: &str| places.take(Client::User(user.into()));
        let status = |taken: Result<Place, Problem>| taken.err().map(|problem| problem.status().as_u16());
        let (first, second) = (take("1").unwrap(), take("1").unwrap());
        assert_eq!(status(take("1")), Some(429));
        let _third = take("2").unwrap();
        assert_eq!(status(take("2")), Some(503));
        drop((first, second));
        assert!(take("1").is_ok());
        assert_eq!(places.lock().by_client.len(), 1, "who has left is forgotten");
    }
}
