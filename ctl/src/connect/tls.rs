use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use worknode_protocol::yaml;

use crate::failure::Failure;

/// Bundles of the system's trust, in the order in which they are looked for.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Files to prove oneself with and to check the server by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// Authorities to trust; the system's if none.
    pub(crate) rootcas: Option<PathBuf>,
    /// Private key of the client, used only together with the certificate.
    pub(crate) key: Option<PathBuf>,
    /// Certificate of the client.
    pub(crate) cert: Option<PathBuf>,
}

/// How to speak TLS to a control service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) files: TlsFiles,
    /// Whether the certificate may be for another host. Its issuer is checked all the same (control-protocol 6.1).
    pub(crate) any_host: bool,
}

impl TlsSettings {
    /// Reads the section `tls-client` of that name from a node's configuration file.
    ///
    /// Unlike the original client this reads past other items, keys in any case, and the map of a version 2 file.
    pub(crate) fn of_config(file: &Path, name: &str) -> Result<Self, Failure> {
        let failure = |error: String| Failure::Config { file: file.to_owned(), error };
        let text = std::fs::read_to_string(file).map_err(|error| failure(error.to_string()))?;
        let document: serde_json::Value = yaml::from_str(&text).map_err(|error| failure(error.to_string()))?;
        let section = tls_clients(&document).find(|section| field(section, "name").as_deref() == Some(name));
        let section = section.ok_or_else(|| Failure::NoTlsClient { file: file.to_owned(), name: name.to_owned() })?;
        let path = |key| field(section, key).filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self {
            files: TlsFiles { rootcas: path("rootcas"), key: path("key"), cert: path("cert") },
            any_host: field(section, "insecureskipverify").as_deref() == Some("true"),
        })
    }

    /// The client's end of a connection to `host`. TLS 1.2 is the least.
    pub(super) fn client(&self, host: &str) -> Result<ClientConnection, Failure> {
        let provider = Arc::new(ring::default_provider());
        let tls = |error: rustls::Error| Failure::Tls(error.to_string());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let verifier = self.verifier(provider)?;
        let builder = builder.map_err(tls)?.dangerous().with_custom_certificate_verifier(verifier);
        let config = match (&self.files.cert, &self.files.key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
                builder.with_client_auth_cert(certificates(cert)?, key).map_err(tls)?
            }
            _ => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure::Tls(format!("{host}: {error}")))?;
        ClientConnection::new(Arc::new(config), name).map_err(tls)
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), provider)
            .build()
            .map_err(|error| Failure::Tls(error.to_string()))?;
        Ok(if self.any_host { Arc::new(AnyHost(verifier)) } else { verifier })
    }

    fn roots(&self) -> Result<RootCertStore, Failure> {
        let bundle = self.files.rootcas.clone().or_else(system_bundle);
        let bundle = bundle.ok_or_else(|| Failure::Tls("the system has no trusted authorities".to_owned()))?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates(&bundle)?);
        if added == 0 {
            return Err(Failure::TlsFile { file: bundle, error: "there is no certificate in it".to_owned() });
        }
        Ok(roots)
    }
}

/// The sections `tls-client` of a version 1 file, and the entries of `tls-clients` of a version 2 file.
fn tls_clients(document: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    let actions = document.as_array().into_iter().flatten().filter_map(|item| item.get("tls-client"));
    let sections = document.get("tls-clients").and_then(serde_json::Value::as_array).into_iter().flatten();
    actions.chain(sections)
}

/// A scalar of a section as text.
fn field(section: &serde_json::Value, name: &str) -> Option<String> {
    let (_, value) = section.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Null => None,
        other => Some(other.to_string()),
    }
}

fn system_bundle() -> Option<PathBuf> {
    SYSTEM_BUNDLES.map(PathBuf::from).into_iter().find(|bundle| bundle.is_file())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(unreadable(file))?;
    certificates.collect::<Result<_, _>>().map_err(unreadable(file))
}

fn unreadable(file: &Path) -> impl Fn(rustls::pki_types::pem::Error) -> Failure + use<> {
    let file = file.to_owned();
    move |error| Failure::TlsFile { file: file.clone(), error: error.to_string() }
}

/// Checks all but the host name.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The chain is verified before the name is looked at, so a wrong name means that all else is in order.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "- local-only\n- node: n1\n- tls-client: {name: other, rootcas: /x, cert: '', key: ''}\n\
                      - tls-client:\n    name: mine\n    RootCAs: /ca.pem\n    key: /k.pem\n    cert: /c.pem\n    insecureskipverify: yes\n";

    fn of_config(text: &str, name: &str) -> Result<TlsSettings, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.yml");
        std::fs::write(&file, text).unwrap();
        TlsSettings::of_config(&file, name).map_err(|failure| failure.to_string())
    }

    fn file(path: &str) -> Option<PathBuf> {
        Some(PathBuf::from(path))
    }

    #[test]
    fn a_section_is_found_by_its_name() {
        let mine = of_config(V1, "mine").unwrap();
        assert_eq!(mine.files, TlsFiles { rootcas: file("/ca.pem"), key: file("/k.pem"), cert: file("/c.pem") });
        assert!(mine.any_host);
        let other = of_config(V1, "other").unwrap();
        assert_eq!(other.files, TlsFiles { rootcas: file("/x"), ..TlsFiles::default() });
        assert!(!other.any_host);
        let v2 = "version: 2\ntls-clients:\n  - name: mine\n    rootcas: /ca.pem\n";
        assert_eq!(of_config(v2, "mine").unwrap().files.rootcas, file("/ca.pem"));
    }

    #[test]
    fn what_cannot_be_found_is_told() {
        assert!(of_config(V1, "none").unwrap_err().starts_with("there is no tls-client none in /"));
        assert!(of_config("- [", "mine").unwrap_err().contains("node.yml: yaml:"));
        let missing = TlsSettings::of_config(Path::new("/nope"), "x").unwrap_err().to_string();
        assert_eq!(missing, "/nope: No such file or directory (os error 2)");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("ca.pem");
        std::fs::write(&bundle, "nothing").unwrap();
        let files = TlsFiles { rootcas: Some(bundle), ..TlsFiles::default() };
        let settings = TlsSettings { files, any_host: false };
        assert!(settings.client("localhost").unwrap_err().to_string().ends_with("there is no certificate in it"));
    }
}
