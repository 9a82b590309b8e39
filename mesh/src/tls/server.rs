//! TLS for what this node accepts: the action `tls-server`.

use std::{fmt, path::PathBuf, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tracing::warn;
use worknode_protocol::{
    config::model::{Fingerprint, TlsServer},
    id::NodeId,
};

use super::{
    TlsError, files,
    rules::{self, ALPN},
    watched::Watched,
};

/// Named TLS settings for what this node accepts, with the certificates of their files. The files are looked at whenever
/// a configuration is asked for; a restart is not needed when they change.
///
/// Sessions are never resumed: a resumed one would skip the check of the client's certificate.
pub struct Server {
    settings: Arc<TlsServer>,
    provider: Arc<CryptoProvider>,
    material: Watched<Material>,
}

/// What the files hold.
struct Material {
    identity: Arc<CertifiedKey>,
    /// Checks the chains of clients; none where clients are not asked for certificates.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Server {
    /// Reads the files; call it before anything is bound.
    ///
    /// # Errors
    /// If a file cannot be used, or the certificate does not carry `node` and `skipreceptornamescheck` is not set.
    pub fn load(settings: TlsServer, node: &NodeId) -> Result<Self, TlsError> {
        if !settings.pinned_client_cert.is_empty() && !asks_for_certificates(&settings) {
            warn!(
                "tls-server {}: pinnedclientcert has no effect without requireclientcert or clientcas",
                settings.name
            );
        }
        let provider = rules::provider(settings.min_tls13);
        let settings = Arc::new(settings);
        let mut watched: Vec<PathBuf> = vec![settings.cert.clone(), settings.key.clone()];
        watched.extend(settings.client_cas.clone());
        let make = {
            let (settings, provider, node) = (settings.clone(), provider.clone(), node.clone());
            move || Material::read(&settings, &provider, &node)
        };
        let material = Watched::new(format!("tls-server {}", settings.name), watched, make)?;
        Ok(Self { settings, provider, material })
    }

    /// The configuration for one incoming connection of a backend or of a control socket: TCP or WebSocket.
    ///
    /// # Errors
    /// None that settings and files could cause.
    pub async fn backend(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let material = self.material.current().await;
        let config = self.config(&material, rules::versions(self.settings.min_tls13), None)?;
        Ok(Arc::new(config))
    }

    /// The configuration for one incoming QUIC connection from `source`, the node in the header of its packets. Where
    /// client certificates are required, the client's must carry that name (mesh-protocol 7.4).
    ///
    /// # Errors
    /// None that settings and files could cause.
    pub async fn stream(&self, source: &str) -> Result<Arc<ServerConfig>, TlsError> {
        let material = self.material.current().await;
        let node = self.settings.require_client_cert.then(|| source.to_owned());
        let mut config = self.config(&material, &[&TLS13], node)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }

    /// The node IDs that a backend's peer may have by the certificate it presented. None: any.
    #[must_use]
    pub fn certified(&self, presented: Option<&[CertificateDer<'_>]>) -> Option<Vec<String>> {
        if self.settings.skip_receptor_names_check { None } else { rules::certified(presented) }
    }

    fn config(
        &self,
        material: &Material,
        versions: &[&'static SupportedProtocolVersion],
        node: Option<String>,
    ) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone()).with_protocol_versions(versions)?;
        let builder = match &material.clients {
            None => builder.with_no_client_auth(),
            Some(chain) => builder.with_client_cert_verifier(Arc::new(ClientCheck {
                chain: chain.clone(),
                settings: self.settings.clone(),
                node,
            })),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(material.identity.clone())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Material {
    fn read(settings: &TlsServer, provider: &Arc<CryptoProvider>, node: &NodeId) -> Result<Self, TlsError> {
        let identity = files::identity(&settings.cert, &settings.key, provider)?;
        if !settings.skip_receptor_names_check {
            files::check_own_name(&identity, node.as_str(), &settings.name, &settings.cert)?;
        }
        Ok(Self { identity, clients: chain_check(settings, provider)? })
    }
}

fn asks_for_certificates(settings: &TlsServer) -> bool {
    settings.require_client_cert || settings.client_cas.is_some()
}

/// Who may sign client certificates: `clientcas`, else the system's authorities where certificates are required.
///
/// `clientcas` alone requires them, too: the reference refuses clients without one in its own check ("peer certificate
/// missing", seen), whatever its configuration says. What it opens to fewer must not be open to all here.
fn chain_check(
    settings: &TlsServer,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if !asks_for_certificates(settings) {
        return Ok(None);
    }
    let roots = match &settings.client_cas {
        Some(file) => files::authorities(file)?,
        None => files::system_authorities(),
    };
    // Without hints a client sends what it has: to choose among several is nothing that nodes do.
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).clear_root_hint_subjects();
    Ok(Some(builder.build()?))
}

/// Checks a client's chain, then its pins, then its node ID.
#[derive(Debug)]
struct ClientCheck {
    chain: Arc<dyn ClientCertVerifier>,
    settings: Arc<TlsServer>,
    node: Option<String>,
}

impl ClientCheck {
    fn pins(&self) -> &[Fingerprint] {
        &self.settings.pinned_client_cert
    }
}

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(leaf, intermediates, now)?;
        rules::check_pins(self.pins(), leaf)?;
        if let Some(node) = &self.node {
            rules::check_node(leaf, node)?;
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
