//! The operator's token: proof that whoever asks can read the operator's files.

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use subtle::ConstantTimeEq;

/// 256 random bits, as 64 hex digits.
const TOKEN_BYTES: usize = 32;
/// Read and written by its owner alone.
const MODE: u32 = 0o600;

/// The token that changing requests carry.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// Where the token of a state folder is kept.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("admin-token")
    }

    /// Reads the token, for the command line.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is not a token.
    pub fn read(state_dir: &Path) -> Result<Self> {
        let path = Self::path(state_dir);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let token = text.trim();
        let whole = token.len() == TOKEN_BYTES * 2 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(whole, "{} does not hold a token; remove it and start the host again", path.display());
        Ok(Self(token.to_owned()))
    }

    /// Reads the token, or makes one on the first start, for the host. A file that
    /// others could read is closed to them.
    ///
    /// # Errors
    /// As [`AdminToken::read`], or the file cannot be made.
    pub fn read_or_create(state_dir: &Path) -> Result<Self> {
        let path = Self::path(state_dir);
        match fs::metadata(&path) {
            Ok(metadata) => {
                if metadata.permissions().mode() & 0o777 != MODE {
                    tracing::warn!(path = %path.display(), "the operator's token was open to others; now it is not");
                    fs::set_permissions(&path, Permissions::from_mode(MODE))
                        .with_context(|| format!("cannot close {} to others", path.display()))?;
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create(state_dir, &path).with_context(|| format!("cannot make {}", path.display()))?;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
        Self::read(state_dir)
    }

    /// The token, to be sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the token, in a time that does not tell how much of it was
    /// right.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for AdminToken {
    /// Says nothing of the token, so that no log can.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Writes a new token beside its place and moves it there, so that a host that is
/// killed meanwhile leaves no half of one.
fn create(state_dir: &Path, path: &Path) -> io::Result<()> {
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random)?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();

    fs::create_dir_all(state_dir)?;
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&aside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = AdminToken::read_or_create(&state).unwrap();
        let second = AdminToken::read_or_create(&state).unwrap();
        assert_eq!(first.as_str(), second.as_str());
        assert_eq!(fs::metadata(AdminToken::path(&state)).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
        assert!(!format!("{first:?}").contains(first.as_str()));
    }

    #[test]
    fn a_file_that_others_can_read_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        AdminToken::read_or_create(dir.path()).unwrap();
        let path = AdminToken::path(dir.path());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        AdminToken::read_or_create(dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn two_hosts_do_not_share_a_token_and_an_empty_file_is_none() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let token = AdminToken::read_or_create(one.path()).unwrap();
        assert!(!AdminToken::read_or_create(other.path()).unwrap().is(token.as_str().as_bytes()));

        fs::write(AdminToken::path(other.path()), "").unwrap();
        assert!(AdminToken::read_or_create(other.path()).is_err());
        assert!(AdminToken::read(&one.path().join("nowhere")).is_err());
    }
}
