//! The HTTP part of WebSockets: which request a listener takes, and what a dialer asks (mesh-protocol 1.3).

use std::{io, time::Duration};

use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config, client_async_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
        protocol::WebSocketConfig,
    },
};

use super::{
    LARGEST_MESSAGE,
    connection::Duplex,
    proxy::{self, Proxy},
};

/// Time for the request to come, or for the answer to it.
const HANDSHAKE: Duration = Duration::from_secs(5);
const BUFFER: usize = 64 * 1024;

/// A message may come in pieces and with a type of its own; one larger than any transport takes is not for us.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(4 * BUFFER)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE))
}

fn refused(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// The listener's part.
pub(super) async fn accept(io: Box<dyn Duplex>, path: &str) -> io::Result<WebSocketStream<Box<dyn Duplex>>> {
    #[allow(clippy::result_large_err, reason = "the library's signature")]
    let check = |request: &Request, response: Response| match judge(path, request.uri(), request.headers()) {
        None => Ok(response),
        Some((status, words)) => {
            let mut answer = ErrorResponse::new(Some(words.to_owned()));
            *answer.status_mut() = status;
            Err(answer)
        }
    };
    timeout(HANDSHAKE, accept_hdr_async_with_config(io, check, Some(limits()))).await?.map_err(refused)
}

/// Why a request is refused, as the original does.
fn judge(path: &str, uri: &Uri, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    // A path that ends in a slash stands for all below it.
    let found = if path.ends_with('/') { uri.path().starts_with(path) } else { uri.path() == path };
    if !found {
        return Some((StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    // Browsers send the page's origin: pages of other hosts must not speak for a user behind the firewall.
    let origin = headers.get(header::ORIGIN)?;
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let same = text(origin)
        .and_then(|origin| origin.parse::<Uri>().ok()?.authority().map(|host| host.as_str().to_owned()))
        .is_some_and(|host| headers.get(header::HOST).and_then(text) == Some(host));
    (!same).then_some((StatusCode::FORBIDDEN, "Forbidden\n"))
}

/// What a dialer asks for, and where.
#[derive(Debug)]
pub(super) struct Target {
    /// `host:port`.
    pub(super) address: String,
    /// The name that a certificate must be made for.
    pub(super) host: String,
    /// Whether the URL's scheme is `wss`.
    pub(super) tls: bool,
    /// The proxy that it is dialled through.
    pub(super) proxy: Option<Proxy>,
    uri: Uri,
    headers: HeaderMap,
}

impl Target {
    /// Reads a URL and the configured header, `key:value`; `variable` looks into the environment for a proxy.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn new(
        url: &str,
        extra_header: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err("its scheme is neither ws nor wss".to_owned()),
        };
        let authority = uri.authority().ok_or("there is no host")?;
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let mut headers = HeaderMap::new();
        let origin = format!("{}://{}", if tls { "https" } else { "http" }, authority.as_str());
        headers.insert(header::ORIGIN, HeaderValue::from_str(&origin).map_err(|error| error.to_string())?);
        if let Some(extra) = extra_header.filter(|extra| !extra.is_empty()) {
            let (name, value) = extra.split_once(':').ok_or("the extra header has no colon")?;
            // The values of such headers are secrets: the error does not show them.
            let name = HeaderName::try_from(name).map_err(|_| "the extra header's name is none")?;
            let value = HeaderValue::from_str(value).map_err(|_| "the extra header's value is none")?;
            headers.append(name, value);
        }
        let (address, host) = (format!("{}:{port}", authority.host()), bare.to_owned());
        let proxy = proxy::choose((bare, port), tls, variable)?;
        Ok(Self { address, host, tls, proxy, uri, headers })
    }
}

/// The dialer's part.
pub(super) async fn dial(io: Box<dyn Duplex>, target: &Target) -> io::Result<WebSocketStream<Box<dyn Duplex>>> {
    let mut request = target.uri.clone().into_client_request().map_err(refused)?;
    request.headers_mut().extend(target.headers.clone());
    let (socket, _) =
        timeout(HANDSHAKE, client_async_with_config(request, io, Some(limits()))).await?.map_err(refused)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str, asked: &str, headers: &[(HeaderName, &str)]) -> Option<u16> {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        judge(path, &asked.parse().unwrap(), &headers).map(|(status, _)| status.as_u16())
    }

    /// mesh-protocol 1.3: no `Origin` is accepted, one whose host differs from `Host` gets 403.
    #[test]
    fn the_origin_must_be_the_host_where_there_is_one() {
        let host = (header::HOST, "hub:17000");
        assert_eq!(status("/", "/", std::slice::from_ref(&host)), None);
        for (origin, answer) in [
            ("http://hub:17000", None),
            ("https://HUB:17000", None),
            ("http://hub", Some(403)),
            ("http://evil:17000", Some(403)),
            ("null", Some(403)),
            ("", Some(403)),
        ] {
            assert_eq!(status("/", "/", &[host.clone(), (header::ORIGIN, origin)]), answer, "{origin}");
        }
    }

    #[test]
    fn the_path_is_that_of_the_configuration() {
        for (path, asked, answer) in [
            ("/", "/", None),
            ("/", "/any/thing", None),
            ("/mesh", "/mesh?x=1", None),
            ("/mesh", "/mesh/", Some(404)),
            ("/mesh", "/", Some(404)),
            ("/mesh/", "/mesh/a", None),
        ] {
            assert_eq!(status(path, asked, &[]), answer, "{path} {asked}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let target = Target::new("wss://hub.example.com/mesh", Some("X-Key: secret"), |_| None).unwrap();
        assert_eq!(
            (target.address.as_str(), target.host.as_str(), target.tls),
            ("hub.example.com:443", "hub.example.com", true)
        );
        assert_eq!(target.headers[header::ORIGIN], "https://hub.example.com");
        assert_eq!(target.headers["x-key"], " secret");
        let target = Target::new("ws://[::1]:17000", None, |_| None).unwrap();
        assert_eq!((target.address.as_str(), target.host.as_str(), target.tls), ("[::1]:17000", "::1", false));
        assert_eq!(target.headers[header::ORIGIN], "http://[::1]:17000");
        for (url, extra) in [
            ("http://hub", None),
            ("hub", None),
            ("ws://", None),
            ("ws://hub", Some("nocolon")),
            ("ws://hub", Some("a b:c")),
        ] {
            assert!(Target::new(url, extra, |_| None).is_err(), "{url}");
        }
    }
}
