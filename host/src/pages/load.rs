//! From the folder to what is served.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{Page, Pages};
use crate::limits::{PAGES_BYTES_MAX, PAGES_FILES_MAX};

/// The file that a folder's own path shows.
const INDEX: &str = "index.html";

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// A file or a folder cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// A name that would have to be percent-encoded, in which two readers may differ.
    #[error("{0}: a served file's name is made of letters, digits, `-`, `_` and `.`")]
    Name(PathBuf),
    /// A link, which may lead out of the folder.
    #[error("{0} is neither a file nor a folder; links are not followed")]
    Link(PathBuf),
    /// Too much to be kept in memory.
    #[error("{folder} has more than {PAGES_FILES_MAX} files and folders, or more than {} MiB", PAGES_BYTES_MAX >> 20)]
    TooLarge {
        /// The folder.
        folder: PathBuf,
    },
}

impl Pages {
    /// Reads a folder with all that is in it, but for names that begin with a dot.
    ///
    /// # Errors
    ///
    /// The first thing in it that cannot be served.
    pub fn load(folder: &Path) -> Result<Self, PagesError> {
        let (mut by_path, mut read, mut bytes) = (HashMap::new(), BTreeSet::new(), 0);
        let visible = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry);
        for entry in WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(visible) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(folder).to_owned();
                PagesError::Unreadable(path, error.into())
            })?;
            let path = entry.path();
            let too_large = || PagesError::TooLarge { folder: folder.to_owned() };
            if read.len() >= PAGES_FILES_MAX {
                return Err(too_large());
            }
            read.insert(path.to_owned());
            if entry.file_type().is_dir() {
                continue;
            }
            if !entry.file_type().is_file() {
                return Err(PagesError::Link(path.to_owned()));
            }
            let served_at = served_at(folder, path).ok_or_else(|| PagesError::Name(path.to_owned()))?;
            let body = read_at_most(path, PAGES_BYTES_MAX - bytes)
                .map_err(|error| PagesError::Unreadable(path.to_owned(), error))?
                .ok_or_else(too_large)?;
            bytes += body.len();
            by_path.insert(served_at, Page::new(path, body));
        }
        Ok(Self { by_path, read })
    }
}

/// A file's content, or `None` when it has more than this many bytes: of such a file no more
/// than that is read, however much there is.
fn read_at_most(path: &Path, bytes_max: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut body)?;
    Ok((body.len() <= bytes_max).then_some(body))
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().first() == Some(&b'.')
}

/// The path of a URL: `/style.css`, and `/` for the folder's `index.html`. `None` for a name
/// that a URL could not have as it is.
fn served_at(folder: &Path, file: &Path) -> Option<String> {
    let mut url = String::new();
    for name in file.strip_prefix(folder).ok()? {
        let name = name.to_str()?;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return None;
        }
        url.push('/');
        url.push_str(name);
    }
    match url.strip_suffix(INDEX) {
        Some(folder) if folder.ends_with('/') => Some(folder.to_owned()),
        _ => Some(url),
    }
}
