//! The secrets that the host makes for itself on first start and keeps, readable by its
//! own user alone.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Its file, in the state folder.
const ROLE_SECRET_FILE: &str = "role-secret";
/// The file of the other one.
const AUTH_SECRET_FILE: &str = "auth-key";

/// The environment's name for the secret that several hosts share.
pub const ROLE_SECRET_VARIABLE: &str = "WASMYARD_SECRET";

/// What the passwords of the services' database roles are derived from: from the
/// environment where several hosts use one database, from the state folder otherwise.
///
/// # Errors
/// The environment's secret is shorter than 16 bytes, or the file cannot be had.
pub fn role_secret(state_dir: &Path) -> anyhow::Result<Vec<u8>> {
    match std::env::var(ROLE_SECRET_VARIABLE) {
        Ok(secret) if secret.len() >= 16 => Ok(secret.into_bytes()),
        Ok(_) => bail!("{ROLE_SECRET_VARIABLE} is shorter than 16 bytes"),
        Err(_) => Ok(kept(&state_dir.join(ROLE_SECRET_FILE))?.into_bytes()),
    }
}

/// What the signing keys are encrypted under: `auth.key` where the manifest has one, and in
/// the local form the state folder's own otherwise.
///
/// # Errors
/// There is none outside the local form, or the file cannot be had.
pub fn auth_secret(configured: Option<&str>, state_dir: &Path, local: bool) -> anyhow::Result<Vec<u8>> {
    match configured {
        Some(secret) => Ok(secret.as_bytes().to_vec()),
        None if local => Ok(kept(&state_dir.join(AUTH_SECRET_FILE))?.into_bytes()),
        None => bail!(
            "auth.key is empty, and routes or grants of the manifest need it: it encrypts the keys that sign \
             access tokens. Make one with `openssl rand -hex 32`, the same for all hosts of a database"
        ),
    }
}

fn kept(path: &Path) -> anyhow::Result<String> {
    let named = || format!("the secret in {}", path.display());
    std::fs::create_dir_all(path.parent().context("a path without a folder")?).with_context(named)?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(mut file) => {
            let secret = random_hex();
            file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).with_context(named)?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut secret = String::new();
            let mut file = OpenOptions::new().read(true).open(path).with_context(named)?;
            file.read_to_string(&mut secret).with_context(named)?;
            let secret = secret.trim().to_owned();
            // A start that was killed in the middle leaves less than a whole one.
            if secret.len() < 32 {
                bail!("{} is damaged; delete it, and the next start makes another", path.display());
            }
            Ok(secret)
        }
        Err(error) => Err(error).with_context(named),
    }
}

/// 256 bits: two version 4 UUIDs (RFC 9562, section 5.4) have 122 random bits each.
fn random_hex() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_kept_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join(ROLE_SECRET_FILE);
        let secret = kept(&path).unwrap();
        assert_eq!(secret.len(), 64);
        assert_eq!(kept(&path).unwrap(), secret);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_signing_keys_secret_is_the_manifests_or_the_local_forms_own() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(auth_secret(Some("given"), dir.path(), true).unwrap(), b"given");
        let error = auth_secret(None, dir.path(), false).unwrap_err().to_string();
        assert!(error.contains("auth.key is empty"), "{error}");
        let own = auth_secret(None, dir.path(), true).unwrap();
        assert_eq!(own.len(), 64);
        assert_eq!(auth_secret(None, dir.path(), true).unwrap(), own);
        assert_ne!(kept(&dir.path().join(ROLE_SECRET_FILE)).unwrap().into_bytes(), own);
    }

    #[test]
    fn half_a_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ROLE_SECRET_FILE);
        std::fs::write(&path, "abc").unwrap();
        assert!(kept(&path).unwrap_err().to_string().contains("damaged"));
    }
}
