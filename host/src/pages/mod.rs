//! The files of the folder that `pages.folder` names, served as they are from `/` on.
//!
//! They are read once and answered from memory, so a request never waits for a disk and a
//! path can never lead out of the folder. Routes and the host's own paths go first.

mod load;
mod page;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use arc_swap::ArcSwap;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

pub use load::PagesError;
use page::Page;

use crate::problem::Problem;
use crate::runtime::{RequestId, Response};

/// The pages in use. Whoever serves them loads them anew for each request.
pub type CurrentPages = ArcSwap<Pages>;

const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The files of a folder, as they were when it was read.
#[derive(Debug, Default)]
pub struct Pages {
    by_path: HashMap<String, Page>,
    /// Files and folders, for whoever watches them.
    read: BTreeSet<PathBuf>,
}

impl Pages {
    /// What the folder was read from: its files, and itself and its folders, whose time
    /// changes when a file comes or goes.
    pub fn read_from(&self) -> impl Iterator<Item = &PathBuf> {
        self.read.iter()
    }

    /// Answers a request, if its path names a file.
    pub fn reply(&self, head: &Parts, id: &RequestId) -> Option<Response> {
        let path = head.uri.path();
        let page = self.by_path.get(path)?;
        Some(match head.method {
            Method::GET | Method::HEAD => page.response(&head.headers),
            Method::OPTIONS => Response {
                status: StatusCode::NO_CONTENT,
                headers: [(ALLOW, ALLOWED)].into_iter().collect(),
                ..Response::default()
            },
            _ => Problem::method_not_allowed(&ALLOWED).response(id, path),
        })
    }
}
