//! TLS for what this node opens: the action `tls-client`.

use std::{fmt, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use worknode_protocol::{
    config::model::{Fingerprint, TlsClient},
    id::NodeId,
};

use super::{
    TlsError, files,
    rules::{self, ALPN},
    watched::Watched,
};

/// Named TLS settings for what this node opens, with the certificates of their files. The files are looked at whenever a
/// configuration is asked for; a restart is not needed when they change.
///
/// Sessions are never resumed: tickets of different nodes would mix, and a resumed session skips the check of the
/// certificate (mesh-protocol 13.3).
pub struct Client {
    settings: Arc<TlsClient>,
    provider: Arc<CryptoProvider>,
    material: Watched<Material>,
}

/// What the files hold.
struct Material {
    identity: Option<Arc<CertifiedKey>>,
    /// Who may sign servers' certificates; none where nobody asks.
    roots: Option<Arc<RootCertStore>>,
}

impl Client {
    /// Reads the files; call it before anything is opened.
    ///
    /// # Errors
    /// If a file cannot be used, or the certificate does not carry `node` and `skipreceptornamescheck` is not set.
    pub fn load(settings: TlsClient, node: &NodeId) -> Result<Self, TlsError> {
        let provider = rules::provider(settings.min_tls13);
        let settings = Arc::new(settings);
        let mut watched: Vec<PathBuf> = settings.root_cas.iter().cloned().collect();
        watched.extend(settings.identity.iter().flat_map(|identity| [identity.cert.clone(), identity.key.clone()]));
        let make = {
            let (settings, provider, node) = (settings.clone(), provider.clone(), node.clone());
            move || Material::read(&settings, &provider, &node)
        };
        let material = Watched::new(format!("tls-client {}", settings.name), watched, make)?;
        Ok(Self { settings, provider, material })
    }

    /// The settings of a `wss` peer that names none: the system's authorities, no certificate of its own. Reads files.
    ///
    /// # Errors
    /// None that a system could cause: without authorities every server is refused.
    pub fn system() -> Result<Self, TlsError> {
        let settings = TlsClient {
            name: "default".to_owned(),
            identity: None,
            root_cas: None,
            insecure_skip_verify: false,
            pinned_server_cert: Vec::new(),
            skip_receptor_names_check: false,
            min_tls13: false,
        };
        let make = || Ok(Material { identity: None, roots: Some(files::system_authorities()) });
        let material = Watched::new("tls-client default".to_owned(), Vec::new(), make)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self { settings: Arc::new(settings), provider, material })
    }

    /// The configuration for one outgoing connection of a backend, and the name to give to the handshake. The server's
    /// certificate must be for `host`, a DNS name or an address without brackets (mesh-protocol 1.4).
    ///
    /// # Errors
    /// If no certificate can be for `host`.
    pub async fn backend(&self, host: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::HostName(host.to_owned()))?;
        let config = self.config(rules::versions(self.settings.min_tls13), Expected::Host).await?;
        Ok((Arc::new(config), name))
    }

    /// The configuration for one QUIC connection to `target`: the server's certificate must carry that node's ID, and no
    /// host name is checked (mesh-protocol 7.4). No server name is sent, so any that QUIC takes will do.
    ///
    /// # Errors
    /// None that settings and files could cause.
    pub async fn stream(&self, target: &str) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = self.config(&[&TLS13], Expected::Node(target.to_owned())).await?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = false;
        Ok(Arc::new(config))
    }

    /// The node IDs that a backend's peer may have by the certificate it presented. None: any.
    #[must_use]
    pub fn certified(&self, presented: Option<&[CertificateDer<'_>]>) -> Option<Vec<String>> {
        let unknown = self.settings.insecure_skip_verify && self.settings.pinned_server_cert.is_empty();
        if self.settings.skip_receptor_names_check || unknown { None } else { rules::certified(presented) }
    }

    async fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        expected: Expected,
    ) -> Result<ClientConfig, TlsError> {
        let material = self.material.current().await;
        let check = ServerCheck {
            roots: material.roots.clone(),
            settings: self.settings.clone(),
            expected,
            provider: self.provider.clone(),
        };
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(check));
        let mut config = match &material.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Material {
    fn read(settings: &TlsClient, provider: &CryptoProvider, node: &NodeId) -> Result<Self, TlsError> {
        let mut own = None;
        if let Some(files) = &settings.identity {
            let identity = files::identity(&files.cert, &files.key, provider)?;
            if !settings.skip_receptor_names_check {
                files::check_own_name(&identity, node.as_str(), &settings.name, &files.cert)?;
            }
            own = Some(identity);
        }
        let roots = match &settings.root_cas {
            _ if settings.insecure_skip_verify => None,
            Some(file) => Some(files::authorities(file)?),
            None => Some(files::system_authorities()),
        };
        Ok(Self { identity: own, roots })
    }
}

/// Whom the server's certificate must be for.
#[derive(Debug)]
enum Expected {
    /// The host that was dialled.
    Host,
    /// A node, whatever its host.
    Node(String),
}

/// Checks a server's chain, then its name; pins always, even where `insecureskipverify` leaves out the rest.
#[derive(Debug)]
struct ServerCheck {
    roots: Option<Arc<RootCertStore>>,
    settings: Arc<TlsClient>,
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

impl ServerCheck {
    fn pins(&self) -> &[Fingerprint] {
        &self.settings.pinned_server_cert
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let parsed = ParsedCertificate::try_from(leaf)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
            match &self.expected {
                Expected::Host => verify_server_name(&parsed, server_name)?,
                Expected::Node(node) => rules::check_node(leaf, node)?,
            }
        }
        rules::check_pins(self.pins(), leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
