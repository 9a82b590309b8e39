//! A certificate authority of its own, and the server's certificate from it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::StartError;

/// Names that a client may reach the server by, beside 127.0.0.1.
const HOST_NAMES: [&str; 4] =
    ["localhost", "kubernetes", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/// What the server needs for TLS, and what its clients need to trust it.
pub(crate) struct Pki {
    /// The authority's certificate, PEM.
    pub(crate) ca_pem: String,
    /// TLS 1.2 and 1.3; ALPN answers `http/1.1` alone, so that a client which also offers `h2` falls back.
    pub(crate) tls: Arc<ServerConfig>,
}

impl Pki {
    pub(crate) fn generate() -> Result<Self, StartError> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "podsim-ca");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate()?;
        let mut server = CertificateParams::new(HOST_NAMES.map(String::from))?;
        server.distinguished_name.push(DnType::CommonName, "podsim");
        server.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = server.signed_by(&key, &issuer)?;

        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { ca_pem, tls: Arc::new(tls) })
    }
}
