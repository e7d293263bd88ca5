//! Which interfaces and keys a service may use.

use crate::manifest::{Grants, KeysGrant};

/// The key patterns of a grant: exact keys, or a prefix followed by `*`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPatterns {
    exact: Vec<String>,
    prefixes: Vec<String>,
}

impl KeyPatterns {
    /// The patterns of a manifest's grant.
    pub fn new(grant: &KeysGrant) -> Self {
        Self::of(&grant.keys)
    }

    /// The patterns of a list.
    pub fn of(patterns: &[String]) -> Self {
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

    /// Whether a key matches one of the patterns.
    pub fn allow(&self, key: &str) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
            || self.exact.iter().any(|exact| exact == key)
    }
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
        let patterns = KeyPatterns::new(&KeysGrant { keys });
        for allowed in ["users:1", "users:", "health", "a*bc"] {
            assert!(patterns.allow(allowed), "{allowed}");
        }
        for refused in ["users", "user:1", "healthy", "abc", "", "products:1"] {
            assert!(!patterns.allow(refused), "{refused}");
        }
    }
}
