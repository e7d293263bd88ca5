//! Threads that give way to those that serve.

/// Lowers the calling thread's priority: what it does may take longer, a request may not.
pub(crate) fn lower_priority() {
    // On Linux 0 means the calling thread, and that one alone. Should it fail, the thread
    // competes with those that serve; that is slower, not wrong.
    #[expect(unsafe_code, reason = "neither std nor nix has this call")]
    // SAFETY: it takes three numbers and touches no memory.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}
