mod backends;
mod files;
mod names;
mod streams;

use std::{fs, io, path::PathBuf, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    SignatureAlgorithm,
};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use worknode_protocol::{
    config::model::{TlsClient, TlsServer, tls::TlsIdentity},
    id::NodeId,
};

use super::{Client, RECEPTOR_NAME_OID, Server};

/// An authority with a directory in which its certificates lie.
struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pki = Self {
            authority: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            dir: TempDir::new().unwrap(),
        };
        fs::write(pki.path("ca.crt"), pki.authority.pem()).unwrap();
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `file.crt` and `file.key` for a node, good for host `127.0.0.1`; answers the certificate.
    fn issue(&self, file: &str, nodes: &[&str]) -> CertificateDer<'static> {
        self.issue_with(file, nodes, &rcgen::PKCS_ECDSA_P256_SHA256, |_| {})
    }

    fn issue_with(
        &self,
        file: &str,
        nodes: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "host.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names.extend(nodes.iter().map(|node| receptor_name(node)));
        change(&mut params);
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        fs::write(self.path(&format!("{file}.crt")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    fn server_settings(&self, file: &str) -> TlsServer {
        TlsServer {
            name: "s".to_owned(),
            cert: self.path(&format!("{file}.crt")),
            key: self.path(&format!("{file}.key")),
            require_client_cert: false,
            client_cas: None,
            pinned_client_cert: Vec::new(),
            skip_receptor_names_check: false,
            min_tls13: false,
        }
    }

    /// Settings that ask clients for certificates of this authority.
    fn mutual(&self, file: &str) -> TlsServer {
        TlsServer { require_client_cert: true, client_cas: Some(self.path("ca.crt")), ..self.server_settings(file) }
    }

    /// Settings that trust this authority; without a certificate where `file` is empty.
    fn client_settings(&self, file: &str) -> TlsClient {
        let identity = TlsIdentity { cert: self.path(&format!("{file}.crt")), key: self.path(&format!("{file}.key")) };
        TlsClient {
            name: "c".to_owned(),
            identity: Some(identity).filter(|_| !file.is_empty()),
            root_cas: Some(self.path("ca.crt")),
            insecure_skip_verify: false,
            pinned_server_cert: Vec::new(),
            skip_receptor_names_check: false,
            min_tls13: false,
        }
    }
}

fn receptor_name(node: &str) -> SanType {
    SanType::OtherName((RECEPTOR_NAME_OID.to_vec(), node.into()))
}

fn node(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

fn server(settings: TlsServer, id: &str) -> Server {
    Server::load(settings, &node(id)).unwrap()
}

fn client(settings: TlsClient, id: &str) -> Client {
    Client::load(settings, &node(id)).unwrap()
}

/// What both ends of a handshake know when it is done.
#[derive(Debug)]
struct Done {
    /// What the client presented.
    client_certs: Option<Vec<CertificateDer<'static>>>,
    /// What the server presented.
    server_certs: Option<Vec<CertificateDer<'static>>>,
    version: rustls::ProtocolVersion,
    /// Whether the server asked the client for another key share.
    second_hello: bool,
}

/// Shakes hands and sends a byte each way: a client learns only then that its certificate was refused.
async fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Done, (io::Result<()>, io::Result<()>)> {
    let (near, far) = duplex(64 * 1024);
    let serve = async {
        let mut tls = TlsAcceptor::from(server).accept(near).await?;
        tls.write_all(b"s").await?;
        tls.read_u8().await?;
        Ok(tls.get_ref().1.peer_certificates().map(own))
    };
    let open = async {
        let mut tls = TlsConnector::from(client).connect(name, far).await?;
        tls.write_all(b"c").await?;
        tls.read_u8().await?;
        let connection = tls.get_ref().1;
        let second_hello = connection.handshake_kind() == Some(rustls::HandshakeKind::FullWithHelloRetryRequest);
        Ok((connection.peer_certificates().map(own), connection.protocol_version().unwrap(), second_hello))
    };
    match tokio::join!(serve, open) {
        (Ok(client_certs), Ok((server_certs, version, second_hello))) => {
            Ok(Done { client_certs, server_certs, version, second_hello })
        }
        (served, opened) => Err((served.map(drop), opened.map(drop))),
    }
}

fn own(certificates: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
    certificates.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

/// The words with which one end refused the other.
fn words(refused: io::Result<()>) -> String {
    refused.unwrap_err().to_string()
}
