//! Tells systemd how far the daemon is (`Type=notify`; sd_notify(3)). Without systemd nothing is told.

use std::{
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// The variable that names the manager's socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// Finds the manager by the value of [`VARIABLE`].
    ///
    /// # Errors
    /// The variable is set, but its socket cannot be used.
    pub fn find(variable: Option<OsString>) -> io::Result<Self> {
        let Some(name) = variable.filter(|name| !name.is_empty()) else { return Ok(Self::default()) };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(hidden) => SocketAddr::from_abstract_name(hidden)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Some((socket, address)) })
    }

    /// Everything is served from now on.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The daemon is on its way out.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, news: &str) {
        if let Some((socket, address)) = &self.socket {
            // A manager that does not listen is its own trouble.
            let _ = socket.send_to_addr(news.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_reach_the_socket_of_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let daemon = ServiceManager::find(Some(path.into())).unwrap();
        daemon.ready();
        daemon.stopping();
        let mut news = [0; 32];
        for expected in ["READY=1", "STOPPING=1"] {
            let length = manager.recv(&mut news).unwrap();
            assert_eq!(&news[..length], expected.as_bytes());
        }
    }

    #[test]
    fn without_the_variable_nothing_is_told() {
        ServiceManager::find(None).unwrap().ready();
        ServiceManager::find(Some(OsString::new())).unwrap().ready();
    }
}
