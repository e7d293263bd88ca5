//! `wasmyard:platform/trace`: what a guest may say about its own span.
//!
//! It is no grant: it reaches nothing, and every component may import it.

mod host;
