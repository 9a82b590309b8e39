//! The Unix socket file: lock, stale sockets, mode (control-protocol 2.2).
//!
//! Two things are not as in the reference. Only a socket is ever removed to make room, nothing else and nothing
//! recursively. And the socket never has another mode than the configured one: it is bound beside its place, under a name
//! that nobody waits for, given its mode, and renamed into place.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// A bound socket. Dropped, it takes its file away; the lock file stays, as an anchor for the next daemon's lock.
pub struct UnixSocket {
    path: PathBuf,
    listener: Option<UnixListener>,
    _lock: File,
}

/// Why a socket could not be opened. Follows `error opening Unix socket: `.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    /// Another process serves this socket.
    #[error("could not acquire lock on socket file: fslock is already locked")]
    Locked,
    /// The lock file cannot be made.
    #[error("could not acquire lock on socket file: {}", os_text(.0))]
    Lock(io::Error),
    /// Something that is not a socket stands in the way.
    #[error("{0} exists and is not a socket: remove it, or name another file")]
    Occupied(PathBuf),
    /// The socket cannot be bound.
    #[error("could not listen on socket file: {}", os_text(.0))]
    Bind(io::Error),
}

/// The system's words in lower case, as Go prints them.
fn os_text(fault: &io::Error) -> String {
    let text = fault.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

impl UnixSocket {
    /// Locks, binds and sets the mode.
    ///
    /// # Errors
    /// See [`UnixSocketError`]; nothing is left but the lock file.
    pub fn open(path: &Path, mode: u32) -> Result<Self, UnixSocketError> {
        let lock = lock(&beside(path, ".lock"))?;
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(UnixSocketError::Occupied(path.to_owned()));
            }
            _ => {}
        }
        let listener = bind(path, mode).map_err(UnixSocketError::Bind)?;
        Ok(Self { path: path.to_owned(), listener: Some(listener), _lock: lock })
    }

    /// The listener, to be taken once.
    pub fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn lock(path: &Path) -> Result<File, UnixSocketError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(UnixSocketError::Lock)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(UnixSocketError::Locked),
        Err(fault) => Err(UnixSocketError::Lock(fault.into())),
    }
}

/// Binds under a name of its own in the same directory, sets the mode, renames. A short name: socket paths are short.
fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let hidden = path.with_file_name(hidden);
    match std::fs::remove_file(&hidden) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    let listener = UnixListener::bind(&hidden)?;
    let placed = std::fs::set_permissions(&hidden, Permissions::from_mode(mode))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| std::fs::rename(&hidden, path));
    placed.inspect_err(|_| drop(std::fs::remove_file(&hidden)))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let socket = UnixSocket::open(&path, 0o660).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        let second = UnixSocket::open(&path, 0o660).err().unwrap();
        assert_eq!(second.to_string(), "could not acquire lock on socket file: fslock is already locked");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_anything_else_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(UnixSocket::open(&path, 0o600).unwrap());
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("kept"), "x").unwrap();
        assert!(matches!(UnixSocket::open(&path, 0o600), Err(UnixSocketError::Occupied(_))));
        assert!(path.join("kept").exists());
    }

    #[test]
    fn a_missing_directory_is_named_as_in_the_reference() {
        let fault = UnixSocket::open(Path::new("/nonexistent-dir/s.sock"), 0o600).err().unwrap();
        assert_eq!(fault.to_string(), "could not acquire lock on socket file: no such file or directory");
    }
}
