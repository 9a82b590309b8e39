//! As much of a Kubernetes client as tests need to look behind the daemon's back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::Deserialize;
use serde_json::Value;

use crate::wait::PATIENCE;

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Vec<Named>,
    users: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    cluster: Cluster,
    #[serde(default)]
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// An API server, spoken to with one connection a request.
#[derive(Debug)]
pub(super) struct Api {
    host: String,
    authorization: String,
    tls: Arc<ClientConfig>,
}

impl Api {
    /// The first cluster and the first user of a kubeconfig.
    pub(super) fn of(kubeconfig: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let file: Kubeconfig = worknode_protocol::yaml::from_str(&text)?;
        let cluster = &file.clusters.first().context("no cluster")?.cluster;
        let user = &file.users.first().context("no user")?.user;
        let host = cluster.server.strip_prefix("https://").context("not https")?.trim_end_matches('/').to_owned();
        let authorization =
            user.token.as_ref().map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        Ok(Self { host, authorization, tls: tls(cluster, user)? })
    }

    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let (code, body) = self.request("GET", path, "")?;
        ensure!(code == 200, "GET {path}: {code}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).with_context(|| format!("GET {path}"))
    }

    /// Waits until something changes in a list, at most a second.
    pub(super) fn await_change(&self, list: &str) -> Result<()> {
        self.request("GET", &format!("{list}?watch=true&timeoutSeconds=1"), "").map(drop)
    }

    pub(super) fn delete(&self, path: &str) -> Result<u16> {
        Ok(self.request("DELETE", path, "")?.0)
    }

    pub(super) fn create(&self, path: &str, object: &Value) -> Result<()> {
        let (code, body) = self.request("POST", path, &object.to_string())?;
        ensure!(code == 201, "POST {path}: {code}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    /// HTTP/1.0 keeps the answer in one piece that ends with the connection.
    fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let stream = TcpStream::connect(&self.host).with_context(|| self.host.clone())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (name, _) = self.host.rsplit_once(':').context("no port")?;
        let connection = ClientConnection::new(self.tls.clone(), ServerName::try_from(name.to_owned())?)?;
        let mut stream = StreamOwned::new(connection, stream);
        let Self { host, authorization, .. } = self;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: {host}\r\n{authorization}Accept: application/json\r\n")?;
        if !body.is_empty() {
            write!(stream, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())?;
        }
        write!(stream, "\r\n{body}")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        split(&answer).with_context(|| format!("{method} {path}: {}", String::from_utf8_lossy(&answer)))
    }
}

/// Status code and body of an answer.
fn split(answer: &[u8]) -> Result<(u16, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let at = answer.windows(END.len()).position(|bytes| bytes == END).context("no end of headers")?;
    let (head, body) = answer.split_at(at);
    let code = str::from_utf8(head)?.split(' ').nth(1).context("no status code")?.parse()?;
    Ok((code, body.get(END.len()..).unwrap_or_default().to_vec()))
}

fn tls(cluster: &Cluster, user: &User) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&cluster.certificate_authority_data)? {
        roots.add(certificate)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(Arc::new(match (&user.client_certificate_data, &user.client_key_data) {
        (Some(chain), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(&STANDARD.decode(key)?).map_err(anyhow::Error::msg)?;
            builder.with_client_auth_cert(certificates(chain)?, key)?
        }
        _ => builder.with_no_client_auth(),
    }))
}

fn certificates(base64: &str) -> Result<Vec<CertificateDer<'static>>> {
    let pem = STANDARD.decode(base64)?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(anyhow::Error::msg)
}
