use std::path::{Path, PathBuf};

use super::TlsSettings;
use crate::environment::Environment;
use crate::failure::Failure;

/// Where a control service may be when nobody says where: worknode's own socket, then the original's.
const DEFAULT_SOCKETS: [&str; 2] = ["/run/worknode/worknode.sock", "/run/receptor/receptor.sock"];

/// Address of a control service (control-protocol 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port, in the clear.
    Tcp {
        /// Name or number of the host.
        host: String,
        port: u16,
    },
    /// A TCP port with TLS.
    Tls {
        /// Name or number of the host; the certificate must be for it.
        host: String,
        port: u16,
    },
}

/// A control service and all that is needed to reach it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) tls: TlsSettings,
}

impl Address {
    /// Reads `tcp:` or `tls:` with host and port, else a path with or without `unix:`; `//` may follow each prefix.
    ///
    /// Beyond the original, an IPv6 address may stand in brackets.
    pub(crate) fn parse(text: &str, environment: &Environment) -> Result<Self, Failure> {
        let invalid = || Failure::InvalidAddress(text.to_owned());
        let after = |prefix| {
            let rest: &str = text.strip_prefix(prefix)?;
            Some(rest.strip_prefix("//").unwrap_or(rest))
        };
        if let Some((host, port)) = after("tcp:").and_then(host_and_port) {
            return Ok(Self::Tcp { host, port });
        }
        if let Some((host, port)) = after("tls:").and_then(host_and_port) {
            return Ok(Self::Tls { host, port });
        }
        let path = after("unix:").unwrap_or(text);
        if path.is_empty() || path.contains(':') {
            return Err(invalid());
        }
        Ok(Self::Unix(environment.expand_home(path)))
    }

    /// The first default socket that exists.
    pub(crate) fn default_socket() -> Result<Self, Failure> {
        let existing = DEFAULT_SOCKETS.iter().map(Path::new).find(|path| path.exists());
        existing.map(|path| Self::Unix(path.to_owned())).ok_or(Failure::NoSocket)
    }
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    (!host.is_empty() && host.chars().all(plain)).then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        let home = ("HOME".to_owned(), "/home/a".to_owned());
        let environment = Environment { variables: [home].into(), ..Environment::default() };
        Address::parse(text, &environment).map_err(|failure| failure.to_string())
    }

    #[test]
    fn addresses_are_those_of_control_protocol_6_1() {
        let unix = |path: &str| Ok(Address::Unix(PathBuf::from(path)));
        assert_eq!(parse("/run/x.sock"), unix("/run/x.sock"));
        assert_eq!(parse("x.sock"), unix("x.sock"));
        assert_eq!(parse("unix:/run/x.sock"), unix("/run/x.sock"));
        assert_eq!(parse("unix:///run/x.sock"), unix("/run/x.sock"));
        assert_eq!(parse("unix:~/x.sock"), unix("/home/a/x.sock"));
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.to_owned(), port });
        assert_eq!(parse("tcp://localhost:8888"), tcp("localhost", 8888));
        assert_eq!(parse("tcp:10.0.0.1:1"), tcp("10.0.0.1", 1));
        assert_eq!(parse("tcp://::1:99"), tcp("::1", 99));
        assert_eq!(parse("tcp://[::1]:99"), tcp("::1", 99));
        assert_eq!(parse("tls:a-b.c:443"), Ok(Address::Tls { host: "a-b.c".to_owned(), port: 443 }));
    }

    #[test]
    fn what_is_no_address_is_repeated() {
        for text in
            ["", "tcp:", "tcp://host", "tcp://host:x", "tcp://:1", "tls://h_h:1", "/a:b", "udp:x:1", "tcp:h:65536"]
        {
            assert_eq!(parse(text), Err(format!("Invalid socket address {text}")));
        }
    }
}
