//! A new service's part of the manifest.

/// The manifest with a service more. What is there stays to the letter.
pub(super) fn add(manifest: &str, name: &str) -> String {
    let file = name.replace('-', "_");
    let separator = if manifest.is_empty() || manifest.ends_with('\n') { "" } else { "\n" };
    format!(
        r#"{manifest}{separator}
# ---- {name} ----

[services.{name}]
component = "${{CARGO_TARGET_DIR:-target}}/wasm32-wasip2/component/{file}.wasm"
build = ["cargo", "build", "--profile", "component", "--target", "wasm32-wasip2", "--package", "{name}"]
# `{{name}}` is one segment; a plain path goes before a template.
routes = [
    {{ path = "/api/v1/{name}", methods = ["GET"] }},
    {{ path = "/api/v1/{name}/{{name}}", methods = ["GET"] }},
    {{ path = "/api/v1/{name}/health", methods = ["GET"] }},
]

# What it may import; nothing that is not here.
[services.{name}.grants]
log = true
# config = true                        # [services.{name}.settings]
# stats = true                         # the host's numbers for this service
# postgres = {{ role = "{file}_service" }}
# redis = {{ keys = ["{name}:*"] }}
# cache = {{ keys = ["{name}:*"] }}
# services = ["users"]                 # other services, called in process
# headers = ["content-type"]           # the only fields of a request that it is shown
"#
    )
}

/// A manifest to begin with.
pub(super) fn new_manifest() -> String {
    r#"# Any string may refer to the environment: ${NAME}, or ${NAME:-default}. A path
# starts from this file's folder. `wasmyard check` says what is wrong.

[server]
bind = "${WASMYARD_BIND:-127.0.0.1}"
https_port = "${WASMYARD_HTTPS_PORT:-8443}"
http_port = "${WASMYARD_HTTP_PORT:-8081}"

[admin]
port = "${WASMYARD_ADMIN_PORT:-9901}"

# Empty: `wasmyard up --local` starts its own.
[postgres]
url = "${DATABASE_URL:-}"

[redis]
url = "${REDIS_URL:-}"
"#
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn a_service_is_added_to_a_manifest_that_stays_as_it_is() {
        let before = new_manifest();
        let after = add(&add(&before, "reviews"), "a-b2");
        assert!(after.starts_with(&before));
        let manifest = Manifest::parse(&after, Path::new("wasmyard.toml"), &|_| None)
            .unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(manifest.services.keys().collect::<Vec<_>>(), ["a-b2", "reviews"]);
        assert!(manifest.services["a-b2"].component.ends_with("target/wasm32-wasip2/component/a_b2.wasm"));
        assert!(manifest.services["reviews"].grants.log);
    }

    #[test]
    fn every_grant_that_is_suggested_is_one() {
        let text = add("", "reviews").replace("# config", "config").replace("# stats", "stats");
        let text =
            text.replace("# postgres", "postgres").replace("# redis", "redis").replace("# cache", "cache");
        let text = text.replace("# services = [\"users\"]", "services = [\"reviews\"]");
        let manifest = Manifest::parse(&text, Path::new("wasmyard.toml"), &|_| None)
            .unwrap_or_else(|errors| panic!("{errors}"));
        let grants = &manifest.services["reviews"].grants;
        assert!(grants.config && grants.stats && grants.redis.is_some() && grants.cache.is_some());
        assert_eq!(grants.postgres.as_ref().map(|grant| grant.role.as_str()), Some("reviews_service"));
    }
}
