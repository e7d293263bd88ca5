//! Which interfaces and keys a service may use.

use crate::limits::{REDIS_KEY_BYTES_MAX, REDIS_KEYS_MAX};
use crate::manifest::Grants;

/// What the host's own keys begin with: tokens of fills, buckets of rate limits. No pattern
/// reaches them, `*` neither: a service that could write there could lift its own limits.
pub const RESERVED: &str = "wasmyard:";

/// The key patterns of a grant: exact keys, or a prefix followed by `*`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPatterns {
    exact: Vec<String>,
    prefixes: Vec<String>,
}

impl KeyPatterns {
    /// The patterns of a manifest's list.
    pub fn new(patterns: &[String]) -> Self {
        let (mut exact, mut prefixes) = (Vec::new(), Vec::new());
        for key in patterns {
            match key.strip_suffix('*') {
                Some(prefix) => prefixes.push(prefix.to_owned()),
                None => exact.push(key.clone()),
            }
        }
        Self { exact, prefixes }
    }

    /// The exact keys.
    pub fn exact(&self) -> &[String] {
        &self.exact
    }

    /// What stood before the `*` of the others.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// Whether a key matches one of the patterns, and is not the host's own.
    pub fn allow(&self, key: &str) -> bool {
        let matches = self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
            || self.exact.iter().any(|exact| exact == key);
        matches && !key.starts_with(RESERVED)
    }

    /// Checks the keys of one call: [`REDIS_KEYS_MAX`] of them, of [`REDIS_KEY_BYTES_MAX`]
    /// bytes each, and all of them granted.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, keys: &[String]) -> Result<(), KeyFault> {
        if keys.len() > REDIS_KEYS_MAX {
            return Err(KeyFault::TooMany(keys.len()));
        }
        for key in keys {
            if key.len() > REDIS_KEY_BYTES_MAX {
                return Err(KeyFault::TooLong);
            }
            if !self.allow(key) {
                return Err(KeyFault::NotGranted(key.clone()));
            }
        }
        Ok(())
    }
}

/// What is wrong with the keys of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFault {
    /// So many are more than a call may name.
    TooMany(usize),
    /// One has too many bytes.
    TooLong,
    /// The service may not name this one.
    NotGranted(String),
}

/// The interfaces of `wasmyard:platform` that need a grant, each with whether it is
/// given and the line that gives it.
pub fn interfaces(grants: &Grants) -> [(&'static str, bool, &'static str); 8] {
    [
        ("log", grants.log, "log = true"),
        ("config", grants.config, "config = true"),
        ("stats", grants.stats, "stats = true"),
        ("postgres", grants.postgres.is_some(), r#"postgres = { role = "NAME_service" }"#),
        ("redis", grants.redis.is_some(), r#"redis = { keys = ["NAME:*"] }"#),
        ("cache", grants.cache.is_some(), r#"cache = { keys = ["NAME:*"] }"#),
        ("auth", grants.auth, "auth = true"),
        ("services", !grants.services.is_empty(), r#"services = ["OTHER"]"#),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_rest_and_only_at_the_end() {
        let keys = ["users:*", "health", "a*b*"].map(str::to_owned).to_vec();
        let patterns = KeyPatterns::new(&keys);
        for allowed in ["users:1", "users:", "health", "a*bc"] {
            assert!(patterns.allow(allowed), "{allowed}");
        }
        for refused in ["users", "user:1", "healthy", "abc", "", "products:1"] {
            assert!(!patterns.allow(refused), "{refused}");
        }
    }

    #[test]
    fn the_hosts_own_keys_are_in_no_grant() {
        let keys = ["*", "w*", "wasmyard:*", "wasmyard:limit:users:address:127.0.0.1"].map(str::to_owned);
        let patterns = KeyPatterns::new(&keys);
        for own in ["wasmyard:limit:users:address:127.0.0.1", "wasmyard:lease:{users:1}", "wasmyard:"] {
            assert!(!patterns.allow(own), "{own}");
        }
        assert!(patterns.allow("wasmyard") && patterns.allow("users:1"));
    }
}
