//! Starts the native peer, and serves until SIGINT or SIGTERM.

use clap::Parser as _;
use native_shop::{Native, Options};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let native = Native::start(Options::parse()).await?;
    println!("http://{}", native.http());
    println!("https://{}", native.https());
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    Ok(())
}
