//! As much of a kubeconfig as the tests' client needs.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: ClusterEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterEntry {
    server: String,
    certificate_authority_data: String,
}

#[derive(Deserialize)]
struct NamedUser {
    user: UserEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UserEntry {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Where the API is and who asks.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) token: Option<String>,
    pub(crate) tls: Arc<ClientConfig>,
    /// The same without a client certificate.
    pub(crate) anonymous_tls: Arc<ClientConfig>,
}

impl Access {
    /// The first cluster and the first user of the file.
    pub(crate) fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file: File = serde_saphyr::from_str(&text).unwrap();
        let (cluster, user) = (&file.clusters[0].cluster, &file.users[0].user);
        let address = cluster.server.strip_prefix("https://").expect("https").trim_end_matches('/');
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "443"));
        Self {
            host: host.to_owned(),
            port: port.parse().unwrap(),
            token: user.token.clone(),
            tls: tls(cluster, Some(user)),
            anonymous_tls: tls(cluster, None),
        }
    }
}

fn tls(cluster: &ClusterEntry, user: Option<&UserEntry>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&decode(&cluster.certificate_authority_data)) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let pair = user.and_then(|user| Some((user.client_certificate_data.as_ref()?, user.client_key_data.as_ref()?)));
    let mut tls = match pair {
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(&decode(certificate)).collect::<Result<Vec<_>, _>>().unwrap();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&decode(key)).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text.trim()).unwrap()
}
