//! Tokens that a host has taken from Redis before they were needed.

/// Tokens taken together. Each has a place of one interval on the bucket's time, one after
/// another from `first_us`: Redis counts a token as used until its place has passed. So it is
/// worth something only until its place begins, and is void from then on; by the time at
/// which Redis counts it as come back, nobody can use it any more.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// Where the place of the first token begins, by this host's clock.
    first_us: u64,
    tokens: u64,
}

impl Lease {
    pub(super) fn new(first_us: u64, tokens: u64) -> Self {
        Self { first_us, tokens }
    }

    /// The tokens that are worth something.
    pub(super) fn left(&mut self, interval_us: u64, now_us: u64) -> u64 {
        if self.tokens > 0 && now_us > self.first_us {
            let void = (now_us - self.first_us).div_ceil(interval_us).min(self.tokens);
            self.tokens -= void;
            self.first_us += void * interval_us;
        }
        self.tokens
    }

    /// Takes the token that would be void first.
    pub(super) fn take(&mut self, interval_us: u64, now_us: u64) -> bool {
        let there_is = self.left(interval_us, now_us) > 0;
        if there_is {
            self.tokens -= 1;
            self.first_us += interval_us;
        }
        there_is
    }
}

#[cfg(test)]
mod tests {
    use super::super::gcra::Rate;
    use super::*;

    #[test]
    fn a_token_is_void_when_its_place_begins() {
        let mut lease = Lease::new(1_000, 4);
        assert_eq!(lease.left(100, 1_000), 4);
        assert_eq!(lease.left(100, 1_001), 3);
        assert_eq!(lease.left(100, 1_100), 3);
        assert!(lease.take(100, 1_100));
        // The one at 1,100 is taken; those at 1,200 and 1,300 are left.
        assert_eq!(lease.left(100, 1_200), 2);
        assert_eq!(lease.left(100, 1_201), 1);
        assert!(lease.take(100, 1_300) && !lease.take(100, 1_300));
        assert!(!Lease::default().take(100, 0));
    }

    /// The heart of the matter: however hosts lease, use and forget, what they can let pass
    /// and what Redis still has are together never more than the burst.
    #[test]
    fn what_is_lent_and_what_is_left_are_never_more_than_the_burst() {
        let rate = Rate { interval_us: 100, burst: 40 };
        let (mut whole, mut now, mut random) = (0_u64, 1_000_000, 7_u64);
        let mut hosts: Vec<Lease> = (0..3).map(|_| Lease::default()).collect();
        for _ in 0..50_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (choice, amount) = ((random >> 33) % 8, (random >> 40) % 9);
            let host = &mut hosts[usize::try_from((random >> 50) % 3).expect("one of three")];
            match choice {
                0..=2 => now += amount * 60,
                3..=4 if host.left(100, now) == 0 => {
                    let lent = amount.min(rate.left(whole, now));
                    let first = whole.max(now);
                    whole = first + lent * 100;
                    *host = Lease::new(first, lent);
                }
                _ => _ = host.take(100, now),
            }
            let lent: u64 = hosts.iter_mut().map(|host| host.left(100, now)).sum();
            assert!(lent + rate.left(whole, now) <= 40, "{lent} lent, {} left", rate.left(whole, now));
        }
    }
}
