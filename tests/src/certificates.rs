//! Certificates for tests: an authority, a server called `localhost`, a client.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Program;

/// What has been made, as far as it is not only in files.
pub struct Certificates {
    /// The authority that has signed both others.
    pub authority: CertificateDer<'static>,
    /// The client's certificate and key.
    pub client: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Certificates {
    /// Makes them, and writes `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key`.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn write(directory: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        // Without names of their own, a certificate signed by another looks to OpenSSL like one signed by itself.
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Newer Pythons take no authority that does not say so.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let write = |name: &str| {
            let key = KeyPair::generate()?;
            let called = if name == "server" { "localhost" } else { name };
            let mut params = CertificateParams::new(vec![called.to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, called);
            params.use_authority_key_identifier_extension = true;
            let certificate = params.signed_by(&key, &authority)?;
            fs::write(directory.join(format!("{name}.pem")), certificate.pem())?;
            fs::write(directory.join(format!("{name}.key")), key.serialize_pem())?;
            let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
            anyhow::Ok((certificate.der().clone(), key))
        };
        fs::write(directory.join("ca.pem"), authority.pem())?;
        write("server")?;
        Ok(Self { client: write("client")?, authority: authority.der().clone() })
    }
}

/// Makes `ca.crt`, and `NAME.crt` and `NAME.key` for nodes on this host, with the daemon's own commands.
///
/// # Errors
/// Fails if one of the commands does.
pub fn of_nodes(directory: &Path, names: &[&str]) -> Result<()> {
    worknoded(directory, &["--cert-init", "commonname=ca", "bits=2048", "outcert=ca.crt", "outkey=ca.key"])?;
    for name in names {
        let (node, key) = (format!("nodeid={name}"), format!("outkey={name}.key"));
        let words = ["--cert-makereq", "commonname=a", "bits=2048", "ipaddress=127.0.0.1", "outreq=req", &node, &key];
        worknoded(directory, &words)?;
        let certificate = format!("outcert={name}.crt");
        let words = ["--cert-signreq", "req=req", "cacert=ca.crt", "cakey=ca.key", "verify=yes", &certificate];
        worknoded(directory, &words)?;
    }
    Ok(())
}

fn worknoded(directory: &Path, words: &[&str]) -> Result<()> {
    let status = Command::new(Program::worknoded()?.path).current_dir(directory).args(words).status()?;
    ensure!(status.success(), "{words:?}: {status}");
    Ok(())
}
