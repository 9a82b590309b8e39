//! The proxy of the environment, which WebSockets are dialled through as in Go's programs (mesh-protocol 1.3).

use std::{io, net::IpAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::http::Uri;

/// Time for the proxy to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// The longest answer.
const LONGEST_ANSWER: usize = 8 * 1024;

/// A proxy that opens connections by `CONNECT`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// `host:port` of the proxy.
    address: String,
    /// What it is told about who asks. A secret.
    authorization: Option<String>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The proxy for a host, if there is to be one. `variable` looks into the environment.
///
/// # Errors
/// The variable holds no proxy of a kind that is spoken here. What it holds is not told, as there may be a password in it.
pub(super) fn choose(
    (host, port): (&str, u16),
    tls: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, String> {
    let names = if tls { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let Some((name, url)) = names.into_iter().find_map(|name| Some((name, set(name)?))) else { return Ok(None) };
    let spared = ["NO_PROXY", "no_proxy"].into_iter().find_map(set).unwrap_or_default();
    if is_local(host) || spared.split(',').any(|entry| spares(entry.trim(), host, port)) {
        return Ok(None);
    }
    read(&url).map(Some).ok_or_else(|| format!("{name} is no http proxy"))
}

fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Whether an entry of `NO_PROXY` is about a host: `*`, a network, an address, a domain (with all below it), or a domain
/// with a dot before it (only what is below). A port may follow an address or a domain.
fn spares(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let parts = (network.parse(), bits.parse(), host.parse());
        return matches!(parts, (Ok(network), Ok(bits), Ok(host)) if is_within(host, network, bits));
    }
    let (name, only) = match entry.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
        Some((name, Ok(only))) if !name.contains(':') || name.ends_with(']') => (name, Some(only)),
        _ => (entry, None),
    };
    if name.is_empty() || only.is_some_and(|only| only != port) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    if let Ok(address) = name.parse::<IpAddr>() {
        return host.parse() == Ok(address);
    }
    let below = name.trim_start_matches('*');
    let bare = below.trim_start_matches('.');
    host.strip_suffix(bare).is_some_and(|rest| rest.ends_with('.')) || (below == bare && host == bare)
}

fn is_within(host: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (host, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// A URL, or a host and a port alone.
fn read(url: &str) -> Option<Proxy> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = url.parse().ok()?;
    let authority =
        uri.authority().filter(|authority| uri.scheme_str() == Some("http") && !authority.host().is_empty())?;
    let user = authority.as_str().rsplit_once('@').map(|(user, _)| decode(user));
    let authorization = user.map(|user| {
        let user = if user.contains(&b':') { user } else { [&user[..], b":"].concat() };
        format!("Basic {}", BASE64_STANDARD.encode(user))
    });
    Some(Proxy { address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)), authorization })
}

/// Undoes the escapes of a URL.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        match escaped.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = escaped.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(b'%');
                rest = escaped;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

impl Proxy {
    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Has the proxy open a connection to `host:port`; from then on the stream is that connection.
    ///
    /// # Errors
    /// The proxy does not want to, or says nothing.
    pub(super) async fn open(&self, stream: &mut TcpStream, target: &str) -> io::Result<()> {
        let authorization = self.authorization.as_ref();
        let authorization = authorization.map(|words| format!("Proxy-Authorization: {words}\r\n")).unwrap_or_default();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let answer = timeout(ANSWER, answer(stream)).await??;
        let status = answer.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) == Some("200") {
            return Ok(());
        }
        Err(io::Error::other(format!("the proxy {} answers: {status}", self.address)))
    }
}

/// The head of the answer, byte by byte: what follows is no longer the proxy's.
async fn answer(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_ANSWER {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn chosen(host: &str, tls: bool, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        choose((host, 17000), tls, variable).map(|proxy| proxy.map(|proxy| proxy.address))
    }

    #[test]
    fn the_variable_goes_by_the_scheme() {
        let both = [("HTTP_PROXY", "http://plain:3128"), ("https_proxy", "secure")];
        assert_eq!(chosen("hub.example", false, &both), Ok(Some("plain:3128".to_owned())));
        assert_eq!(chosen("hub.example", true, &both), Ok(Some("secure:80".to_owned())));
        assert_eq!(chosen("hub.example", true, &both[..1]), Ok(None));
        for own in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(chosen(own, false, &both), Ok(None), "{own}");
        }
        let error = chosen("hub.example", true, &[("HTTPS_PROXY", "socks5://me:word@proxy")]).unwrap_err();
        assert_eq!(error, "HTTPS_PROXY is no http proxy");
    }

    #[test]
    fn no_proxy_spares_hosts_domains_addresses_and_networks() {
        for (entry, host, spared) in [
            ("*", "hub.example", true),
            ("hub.example", "hub.example", true),
            ("example", "HUB.example", true),
            (".example", "hub.example", true),
            ("*.example", "hub.example", true),
            (".hub.example", "hub.example", false),
            ("ub.example", "hub.example", false),
            ("hub.example:17000", "hub.example", true),
            ("hub.example:80", "hub.example", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/999", "fd12::1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("fd12::1", "fd12::1", true),
            ("[fd12::1]:17000", "fd12::1", true),
            ("", "hub.example", false),
        ] {
            assert_eq!(spares(entry, host, 17000), spared, "{entry} {host}");
        }
    }

    #[tokio::test]
    async fn a_proxy_is_asked_and_its_answer_read_no_further_than_it_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = read(&format!("http://me:p%40ss@{}", listener.local_addr().unwrap())).unwrap();
        assert!(!format!("{proxy:?}").contains("p@ss"));
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = answer(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\nhello").await.unwrap();
            let (mut refused, _) = listener.accept().await.unwrap();
            answer(&mut refused).await.unwrap();
            refused.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
            request
        });
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.open(&mut stream, "hub.example:443").await.unwrap();
        let mut text = [0; 5];
        stream.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"hello");
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let error = proxy.open(&mut stream, "hub.example:443").await.unwrap_err().to_string();
        assert!(error.ends_with("answers: HTTP/1.1 407 Proxy Authentication Required"), "{error}");
        assert_eq!(
            served.await.unwrap(),
            "CONNECT hub.example:443 HTTP/1.1\r\nHost: hub.example:443\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n"
        );
    }
}
