//! Who runs the backends, and where their data are.
//!
//! Postgres refuses to run as root, and a Redis on loopback without a password
//! should not. Started by root, both run as another user, which may not be able to
//! enter the state folder (under `/root`, for example); their data are then under
//! `/var/lib/wasmyard`.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User};
use sha2::{Digest, Sha256};

use super::{LocalError, Progress};

/// Where data go that the state folder cannot hold.
const ELSEWHERE: &str = "/var/lib/wasmyard";

/// The user that the backends run as; `None` of them when it is this process's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    uid: Uid,
    gid: Gid,
}

/// The folders of one state folder's backends.
pub(super) struct Home {
    /// `.wasmyard`.
    pub(super) state_dir: PathBuf,
    /// Holds `postgres/`, `redis/` and `run/`, and belongs to the account.
    pub(super) data_dir: PathBuf,
    /// Set when this process is root.
    pub(super) account: Option<Account>,
}

impl Home {
    /// Chooses the account and makes the folders.
    pub(super) fn prepare(state_dir: &Path, progress: &Progress<'_>) -> Result<Self, LocalError> {
        let state_dir = state_dir.canonicalize().map_err(LocalError::io("opening", state_dir))?;
        let within = state_dir.join("data");
        if !Uid::effective().is_root() {
            make_dir(&within, None)?;
            return Ok(Self { state_dir, data_dir: within, account: None });
        }
        let account = Account::choose(&within)?;
        make_dir(&within, Some(account))?;
        if account.can_enter(&within) {
            return Ok(Self { state_dir, data_dir: within, account: Some(account) });
        }
        let elsewhere = elsewhere(&state_dir)?;
        let parent = Path::new(ELSEWHERE);
        std::fs::create_dir_all(parent).map_err(LocalError::io("making", parent))?;
        make_dir(&elsewhere, Some(account))?;
        remove_left_behind(&state_dir, &elsewhere);
        let owner = elsewhere.join("owner");
        std::fs::write(&owner, state_dir.as_os_str().as_encoded_bytes())
            .map_err(LocalError::io("writing", &owner))?;
        progress(&format!(
            "the database's user cannot enter {}: its data are in {}",
            state_dir.display(),
            elsewhere.display()
        ));
        Ok(Self { state_dir, data_dir: elsewhere, account: Some(account) })
    }

    /// Makes a folder that belongs to the account and nobody else may enter.
    pub(super) fn make_dir(&self, name: &str) -> Result<PathBuf, LocalError> {
        let path = self.data_dir.join(name);
        make_dir(&path, self.account)?;
        Ok(path)
    }

    /// A command that runs as the account, in the data folder, without this
    /// process's environment, of which secrets may be a part.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        command.current_dir(&self.data_dir).stdin(Stdio::null());
        if let Some(account) = self.account {
            account.drop_to(&mut command);
        }
        command
    }
}

impl Account {
    /// The owner of the data that are there; otherwise `postgres`, or `nobody`.
    fn choose(data_dir: &Path) -> Result<Self, LocalError> {
        if let Ok(metadata) = data_dir.metadata()
            && metadata.uid() != 0
        {
            return Ok(Self { uid: metadata.uid().into(), gid: metadata.gid().into() });
        }
        for name in ["postgres", "nobody"] {
            if let Ok(Some(user)) = User::from_name(name) {
                return Ok(Self { uid: user.uid, gid: user.gid });
            }
        }
        Err(LocalError::State(
            "Postgres refuses to run as root, and there is no user postgres or nobody".into(),
        ))
    }

    fn drop_to(self, command: &mut Command) {
        // As root, `uid` also gives up the supplementary groups.
        command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
    }

    /// Gives a path to the account.
    pub(super) fn own(self, path: &Path) -> Result<(), LocalError> {
        std::os::unix::fs::lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .map_err(LocalError::io("giving away", path))
    }

    /// Whether it gets to a folder, tried and not computed: access lists and mount
    /// options have a say too.
    fn can_enter(self, dir: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "cd -- \"$1\" && test -w .", "sh"]).arg(dir).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.drop_to(&mut command);
        command.status().is_ok_and(|status| status.success())
    }
}

/// Writes a file that nobody but its owner may read.
pub(super) fn write_secret(path: &Path, secret: &str) -> Result<(), LocalError> {
    // Written beside and moved, so that there is never half a secret.
    let new = path.with_extension("new");
    let write = || {
        let _ = std::fs::remove_file(&new);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(LocalError::io("writing", path))
}

/// 128 random bits in hex digits.
pub(super) fn random_secret() -> Result<String, LocalError> {
    use std::io::Read;
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    std::fs::File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(LocalError::io("reading", source))?;
    Ok(hex(&bytes))
}

/// A folder for this state folder alone. The random part makes that a removed state
/// folder means an empty database; the path, that a copied one has its own.
fn elsewhere(state_dir: &Path) -> Result<PathBuf, LocalError> {
    let path = state_dir.join("id");
    let id = match std::fs::read_to_string(&path) {
        Ok(id) if !id.is_empty() => id,
        _ => {
            let id = random_secret()?;
            write_secret(&path, &id)?;
            id
        }
    };
    let mut digest = Sha256::new();
    digest.update(id.as_bytes());
    digest.update(state_dir.as_os_str().as_encoded_bytes());
    Ok(Path::new(ELSEWHERE).join(&hex(&digest.finalize())[..16]))
}

/// Removes data that an earlier state folder at the same place left elsewhere.
fn remove_left_behind(state_dir: &Path, current: &Path) {
    let Ok(entries) = std::fs::read_dir(ELSEWHERE) else { return };
    for dir in entries.flatten().map(|entry| entry.path()).filter(|dir| dir != current) {
        let owner = std::fs::read(dir.join("owner")).unwrap_or_default();
        if owner == state_dir.as_os_str().as_encoded_bytes() && !super::orphan::any_in(&dir) {
            // What stays behind costs space and nothing else.
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
}

fn make_dir(path: &Path, account: Option<Account>) -> Result<(), LocalError> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => account.map_or(Ok(()), |account| account.own(path)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(LocalError::io("making", path)(error)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}
