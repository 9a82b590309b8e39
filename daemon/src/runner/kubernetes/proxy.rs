//! The proxy between this daemon and an API server: the kubeconfig's, else that of the environment. Everything goes
//! through it, streams too, because there is one client for all requests.

use std::net::IpAddr;

use http::{Uri, uri::Scheme};
use hyper_util::client::proxy::matcher::Matcher;

use super::auth::{AuthError, Environment};

/// The proxy for this server. `own` is `proxy-url` of the kubeconfig's cluster, which asks nobody.
pub(super) fn choose(own: Option<&str>, server: &Uri, world: &Environment) -> Result<Option<Uri>, AuthError> {
    match own.filter(|url| !url.is_empty()) {
        Some(url) => read("proxy-url", url).map(Some),
        None => of_environment(server, world),
    }
}

/// As Go's programs have it: by the server's scheme, and never for this host itself.
fn of_environment(server: &Uri, world: &Environment) -> Result<Option<Uri>, AuthError> {
    let names = if server.scheme() == Some(&Scheme::HTTP) {
        ["HTTP_PROXY", "http_proxy"]
    } else {
        ["HTTPS_PROXY", "https_proxy"]
    };
    let found = names.into_iter().find_map(|name| Some((name, world.get(name)?)));
    let Some((name, url)) = found.filter(|_| !is_loopback(server)) else { return Ok(None) };
    let spared = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| world.get(name)).unwrap_or_default();
    // Which proxy is all the same here: the question is whether there is to be one.
    let matcher = Matcher::builder().all("http://proxy").no(spared).build();
    if matcher.intercept(server).is_none() {
        return Ok(None);
    }
    // A host and a port will do, too.
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    read(name, &url).map(Some)
}

fn is_loopback(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The URL may hold a password: no error shows it.
fn read(from: &str, url: &str) -> Result<Uri, AuthError> {
    let invalid = || AuthError::Invalid(format!("{from} is no proxy: it must be an http, https or socks5 URL"));
    // The name is looked up by the proxy in either case.
    let url = url.strip_prefix("socks5h://").map_or_else(|| url.to_owned(), |rest| format!("socks5://{rest}"));
    let url: Uri = url.parse().map_err(|_| invalid())?;
    match url.scheme_str() {
        Some("http" | "https" | "socks5") if url.host().is_some_and(|host| !host.is_empty()) => Ok(url),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn world(variable: fn(&str) -> Option<String>) -> Environment {
        Environment::new(variable, PathBuf::new())
    }

    fn chosen(own: Option<&str>, server: &str, world: &Environment) -> Result<Option<String>, String> {
        let proxy = choose(own, &server.parse().unwrap(), world);
        proxy.map(|proxy| proxy.map(|url| url.to_string())).map_err(|fault| fault.to_string())
    }

    #[test]
    fn the_kubeconfigs_own_asks_nobody() {
        let world = world(|name| Some(if name == "NO_PROXY" { "*" } else { "http://other:1" }.to_owned()));
        for (url, proxy) in [
            ("http://proxy:3128", "http://proxy:3128/"),
            ("https://user:word@proxy", "https://user:word@proxy/"),
            ("socks5h://proxy:1080", "socks5://proxy:1080/"),
        ] {
            assert_eq!(chosen(Some(url), "https://127.0.0.1:6443", &world), Ok(Some(proxy.to_owned())));
        }
    }

    #[test]
    fn the_environments_is_chosen_by_scheme_and_host() {
        let world = world(|name| match name {
            "HTTPS_PROXY" => Some("secure:3128".to_owned()),
            "http_proxy" => Some("http://plain:3128".to_owned()),
            "NO_PROXY" => Some("example.com, 10.0.0.0/8,,".to_owned()),
            _ => None,
        });
        for (server, proxy) in [
            ("https://api.example.org:6443", Some("http://secure:3128/")),
            ("https://192.0.2.1", Some("http://secure:3128/")),
            ("http://api.example.org", Some("http://plain:3128/")),
            ("https://api.example.com:6443", None),
            ("https://10.1.2.3:6443", None),
            ("https://127.0.0.1:6443", None),
            ("https://[::1]:6443", None),
            ("https://localhost", None),
        ] {
            assert_eq!(chosen(None, server, &world), Ok(proxy.map(str::to_owned)), "{server}");
            assert_eq!(chosen(Some(""), server, &world), Ok(proxy.map(str::to_owned)), "{server}");
        }
    }

    #[test]
    fn without_variables_there_is_none() {
        assert_eq!(chosen(None, "https://api.example.org", &world(|_| None)), Ok(None));
    }

    #[test]
    fn what_is_no_proxy_is_not_shown() {
        let world = world(|name| (name == "HTTPS_PROXY").then(|| "ftp://user:swordfish@proxy".to_owned()));
        let words = "invalid configuration: HTTPS_PROXY is no proxy: it must be an http, https or socks5 URL";
        assert_eq!(chosen(None, "https://api", &world), Err(words.to_owned()));
        for url in ["swordfish", "http://", "http://a b", "://"] {
            let fault = chosen(Some(url), "https://api", &world).unwrap_err();
            assert!(fault.starts_with("invalid configuration: proxy-url is no proxy") && !fault.contains("swordfish"));
        }
    }
}
