//! What all measurements share: programs as processes, the cores that they run on, and
//! the load generator.

pub mod command;
pub mod cores;
pub mod process;
pub mod sample;
pub mod wrk;
