//! Waiting on file descriptors that tokio has no type for.

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers a descriptor with the runtime.
///
/// # Errors
/// The system has no room for another registration, or the descriptor cannot be waited on.
#[allow(unsafe_code)]
pub fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and names one file description for as long as it lives, and it is moved in here.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}
