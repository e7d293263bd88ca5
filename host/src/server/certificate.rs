//! The certificate that the host makes for itself when it has been given none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{ToSpan, Zoned};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::tls::CertificateError;
use crate::limits;

/// A self-signed certificate in a folder: `self-signed.pem`, and `self-signed.key`
/// that its owner alone may read.
///
/// Two lines of text before the PEM block (RFC 7468, section 5.2) say until when it
/// is valid and for which names, so that it can be told when a new one is due.
#[derive(Debug)]
pub(super) struct SelfSigned {
    dir: PathBuf,
}

impl SelfSigned {
    /// The one in `dir`, which need not exist yet.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn cert(&self) -> PathBuf {
        self.dir.join("self-signed.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.dir.join("self-signed.key")
    }

    /// Whether there is none, or it is about to expire, or the machine's name has
    /// changed.
    pub(super) fn is_due(&self) -> bool {
        let Ok(text) = fs::read_to_string(self.cert()) else { return true };
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let expires = line(EXPIRES).and_then(|date| date.parse::<Date>().ok());
        let due = expires.map(|date| date.saturating_sub(i64::from(limits::CERTIFICATE_RENEW_DAYS).days()));
        due.is_none_or(|due| Zoned::now().date() >= due) || line(NAMES) != Some(&names().join(" "))
    }

    /// Makes a new one. The key comes first, so that a certificate is never there
    /// without it.
    pub(super) fn make(&self) -> Result<(), CertificateError> {
        let names = names();
        let today = Zoned::now().date();
        let expires = today.saturating_add(i64::from(limits::CERTIFICATE_VALIDITY_DAYS).days());

        let mut params = CertificateParams::new(names.clone())?;
        params.distinguished_name.push(DnType::CommonName, "Wasmyard");
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
        // A day back, for clients whose clock is behind.
        let yesterday = today.saturating_sub(1.day());
        params.not_before = rcgen::date_time_ymd(yesterday.year().into(), month(yesterday), day(yesterday));
        params.not_after = rcgen::date_time_ymd(expires.year().into(), month(expires), day(expires));
        let key = KeyPair::generate()?;
        let cert = params.self_signed(&key)?;

        let text = format!("{EXPIRES}{expires}\n{NAMES}{}\n{}", names.join(" "), cert.pem());
        let keep = |path: PathBuf, text: &str, mode| {
            replace(&path, text, mode).map_err(|source| CertificateError::Keep { path, source })
        };
        fs::create_dir_all(&self.dir)
            .map_err(|source| CertificateError::Keep { path: self.dir.clone(), source })?;
        keep(self.key(), &key.serialize_pem(), 0o600)?;
        keep(self.cert(), &text, 0o644)
    }
}

const EXPIRES: &str = "Expires: ";
const NAMES: &str = "Names: ";

/// What a client on this machine, or beside it, calls the host.
fn names() -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if let Some(host) = host.filter(|host| !host.is_empty() && host.bytes().all(legal))
        && !names.contains(&host)
    {
        names.push(host);
    }
    names
}

// jiff counts months and days with a sign; they are never negative.
fn month(date: Date) -> u8 {
    date.month().unsigned_abs()
}

fn day(date: Date) -> u8 {
    date.day().unsigned_abs()
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let partial = path.with_extension("partial");
    // Left over from a crash, perhaps with other permissions.
    let _ = fs::remove_file(&partial);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_certificate_is_not_due_and_its_key_is_private() {
        let dir = tempfile::tempdir().expect("a folder");
        let own = SelfSigned::new(dir.path().join("tls"));
        assert!(own.is_due());
        own.make().expect("made");
        assert!(!own.is_due());
        let mode = fs::metadata(own.key()).expect("the key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn it_is_due_a_month_before_it_expires_and_when_the_names_change() {
        let dir = tempfile::tempdir().expect("a folder");
        let own = SelfSigned::new(dir.path().to_owned());
        own.make().expect("made");
        let text = fs::read_to_string(own.cert()).expect("the certificate");
        let expires = |days: i64| {
            let date = Zoned::now().date().saturating_add(days.days());
            let rest = text.split_once('\n').expect("two lines").1;
            fs::write(own.cert(), format!("{EXPIRES}{date}\n{rest}")).expect("written");
        };
        expires(31);
        assert!(!own.is_due());
        expires(30);
        assert!(own.is_due());

        fs::write(own.cert(), text.replace("localhost", "elsewhere")).expect("written");
        assert!(own.is_due());
    }
}
