//! An authority, and certificates of nodes signed by it.

use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use tempfile::TempDir;
use worknode_mesh::tls::{self, RECEPTOR_NAME_OID};
use worknode_protocol::config::model::{TlsClient, TlsServer, tls::TlsIdentity};

/// An authority with a directory in which its certificates lie.
pub(crate) struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Pki {
    /// A new authority that has issued certificates for these nodes, all on 127.0.0.1.
    pub(crate) fn new(nodes: &[&str]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { authority, directory: TempDir::new().unwrap() };
        fs::write(pki.path("ca.crt"), pki.authority.pem()).unwrap();
        nodes.iter().for_each(|node| pki.issue(node));
        pki
    }

    fn issue(&self, node: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names.push(SanType::OtherName((RECEPTOR_NAME_OID.to_vec(), node.into())));
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        fs::write(self.path(&format!("{node}.crt")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{node}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Settings that ask clients for certificates.
    pub(crate) fn server(&self, node: &str) -> Arc<tls::Server> {
        let settings = TlsServer {
            name: "server".to_owned(),
            cert: self.path(&format!("{node}.crt")),
            key: self.path(&format!("{node}.key")),
            require_client_cert: true,
            client_cas: Some(self.path("ca.crt")),
            pinned_client_cert: Vec::new(),
            skip_receptor_names_check: false,
            min_tls13: false,
        };
        Arc::new(tls::Server::load(settings, &node.parse().unwrap()).unwrap())
    }

    /// Settings with the certificate of a node.
    pub(crate) fn client(&self, node: &str) -> Arc<tls::Client> {
        self.client_of(self, node)
    }

    /// Settings that trust this authority, with the certificate that another one has issued for a node.
    pub(crate) fn client_of(&self, issuer: &Self, node: &str) -> Arc<tls::Client> {
        let [cert, key] = ["crt", "key"].map(|kind| issuer.path(&format!("{node}.{kind}")));
        let identity = TlsIdentity { cert, key };
        let settings = TlsClient {
            name: "client".to_owned(),
            identity: Some(identity),
            root_cas: Some(self.path("ca.crt")),
            insecure_skip_verify: false,
            pinned_server_cert: Vec::new(),
            skip_receptor_names_check: false,
            min_tls13: false,
        };
        Arc::new(tls::Client::load(settings, &node.parse().unwrap()).unwrap())
    }

    /// The same as actions of a Go node, named `server` and `client`.
    pub(crate) fn actions(&self, node: &str) -> [String; 2] {
        let at = self.directory.path().display();
        let pair = format!("cert: {at}/{node}.crt, key: {at}/{node}.key");
        [
            format!("{{tls-server: {{name: server, {pair}, requireclientcert: true, clientcas: {at}/ca.crt}}}}"),
            format!("{{tls-client: {{name: client, {pair}, rootcas: {at}/ca.crt}}}}"),
        ]
    }
}
