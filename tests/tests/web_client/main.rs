//! The shop's web client, in a real browser.

mod accessible;
mod crowd;
mod focus;
mod live;
mod page;
mod sessions;
mod shopping;
mod troubles;
mod weight;
