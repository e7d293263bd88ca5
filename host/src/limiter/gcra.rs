//! The arithmetic of a limit: the generic cell rate algorithm (ITU-T I.371, annex A), which
//! is the leaky bucket as a meter.
//!
//! All that is known of a bucket is one moment, its *theoretical arrival time*: when it will
//! be whole again. A token taken moves that moment one interval on; a moment that has passed
//! means a whole bucket. So an unused bucket needs no clock to fill it and no memory at all.
//! The script in `script.rs` is the same arithmetic in Redis.

/// A bucket of `burst` tokens, of which one comes back in each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Microseconds, at least one.
    pub(super) interval_us: u64,
    /// Tokens, at least one.
    pub(super) burst: u64,
}

impl Rate {
    /// The tokens in a bucket that is whole again at `whole_us`.
    pub(super) fn left(self, whole_us: u64, now_us: u64) -> u64 {
        let used_us = whole_us.saturating_sub(now_us);
        (self.burst * self.interval_us).saturating_sub(used_us) / self.interval_us
    }

    /// Takes a token, if there is one.
    pub(super) fn take(self, whole_us: &mut u64, now_us: u64) -> bool {
        let there_is = self.left(*whole_us, now_us) > 0;
        if there_is {
            *whole_us = (*whole_us).max(now_us) + self.interval_us;
        }
        there_is
    }

    /// Microseconds until there is a token; none if there is one now.
    pub(super) fn wait_us(self, whole_us: u64, now_us: u64) -> u64 {
        let used_us = whole_us.saturating_sub(now_us);
        used_us.saturating_sub((self.burst - 1) * self.interval_us)
    }

    /// When a bucket with `left` tokens will be whole.
    pub(super) fn whole_with(self, left: u64, now_us: u64) -> u64 {
        now_us + self.burst.saturating_sub(left) * self.interval_us
    }

    /// What one of `hosts` hosts may let pass by itself. Together they let pass no more than
    /// the rate, except that a host always has one token at a time.
    pub(super) fn share_of(self, hosts: u64) -> Self {
        Self { interval_us: self.interval_us * hosts, burst: (self.burst / hosts).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;
    const RATE: Rate = Rate { interval_us: 100, burst: 5 };

    #[test]
    fn a_whole_bucket_gives_its_burst_and_then_one_token_in_each_interval() {
        let mut whole = 0;
        for left in (0..5).rev() {
            assert!(RATE.take(&mut whole, NOW));
            assert_eq!(RATE.left(whole, NOW), left);
        }
        assert!(!RATE.take(&mut whole, NOW));
        assert_eq!(RATE.wait_us(whole, NOW), 100);
        assert!(!RATE.take(&mut whole, NOW + 99));
        assert_eq!(RATE.wait_us(whole, NOW + 99), 1);
        assert!(RATE.take(&mut whole, NOW + 100));
        assert!(!RATE.take(&mut whole, NOW + 199));
        assert!(RATE.take(&mut whole, NOW + 200));
    }

    #[test]
    fn a_refused_request_costs_nothing_and_an_idle_bucket_holds_no_more_than_its_burst() {
        let mut whole = 0;
        while RATE.take(&mut whole, NOW) {}
        let used_up = whole;
        assert!(!RATE.take(&mut whole, NOW) && whole == used_up);
        assert_eq!(RATE.left(whole, NOW + 1_000_000), 5);
        let later = NOW + 1_000_000;
        assert_eq!((0..100).filter(|_| RATE.take(&mut whole, later)).count(), 5);
    }

    #[test]
    fn over_any_time_no_more_passes_than_the_burst_and_what_came_back() {
        // Arrivals without a pattern, from a linear congruential generator.
        let (mut whole, mut now, mut random) = (0, NOW, 1_u64);
        let mut passed: Vec<u64> = Vec::new();
        for _ in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now += (random >> 33) % 120;
            if RATE.take(&mut whole, now) {
                passed.push(now);
            }
        }
        assert!(passed.len() > 1_000);
        for (index, start) in passed.iter().enumerate() {
            for (count, end) in (1..).zip(passed[index..].iter().take(50)) {
                assert!(count <= 5 + (end - start) / 100, "{count} from {start} to {end}");
            }
        }
    }

    #[test]
    fn a_share_is_no_more_than_its_part_and_never_nothing() {
        assert_eq!(RATE.share_of(1), RATE);
        assert_eq!(RATE.share_of(2), Rate { interval_us: 200, burst: 2 });
        assert_eq!(RATE.share_of(9), Rate { interval_us: 900, burst: 1 });
    }

    #[test]
    fn a_bucket_is_made_with_what_is_left_of_it() {
        for left in 0..=5 {
            assert_eq!(RATE.left(RATE.whole_with(left, NOW), NOW), left);
        }
        assert_eq!(RATE.left(RATE.whole_with(9, NOW), NOW), 5);
    }
}
