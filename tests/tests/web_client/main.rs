//! The shop's web client, in a real browser.

mod accessible;
mod live;
mod page;
mod shopping;
