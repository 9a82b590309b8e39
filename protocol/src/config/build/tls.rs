//! Named TLS settings.

use std::path::{Path, PathBuf};

use crate::config::error::{CheckError, Phase, TlsFault};
use crate::config::host;
use crate::config::model::tls::TlsIdentity;
use crate::config::model::{Fingerprint, TlsClient, TlsServer};

use super::reader::Reader;

impl Reader<'_, '_> {
    pub(super) fn tls_server(&mut self) {
        match self.read_tls_server() {
            Ok(server) if server.name.is_empty() => self.refuse(Phase::Prepare, "name", CheckError::NoTlsName),
            Ok(server) => {
                let servers = &mut self.builder.parts.tls_servers;
                servers.retain(|other| other.name != server.name);
                servers.push(server);
            }
            Err((key, fault)) => self.refuse(Phase::Prepare, key, CheckError::TlsServer(fault)),
        }
    }

    fn read_tls_server(&self) -> Result<TlsServer, (&'static str, TlsFault)> {
        let item = self.item;
        Ok(TlsServer {
            name: item.text("name").to_owned(),
            cert: self.readable("cert", TlsFault::File)?,
            key: self.readable("key", TlsFault::File)?,
            require_client_cert: item.flag("requireclientcert"),
            client_cas: self.readable_if_given("clientcas", TlsFault::ClientCas)?,
            pinned_client_cert: self.fingerprints("pinnedclientcert")?,
            skip_receptor_names_check: item.flag("skipreceptornamescheck"),
            min_tls13: item.flag("mintls13"),
        })
    }

    pub(super) fn tls_client(&mut self) {
        match self.read_tls_client() {
            Ok(client) if client.name.is_empty() => self.refuse(Phase::Prepare, "name", CheckError::NoTlsName),
            Ok(client) => {
                let clients = &mut self.builder.parts.tls_clients;
                clients.retain(|other| other.name != client.name);
                clients.push(client);
            }
            Err((key, fault)) => self.refuse(Phase::Prepare, key, CheckError::TlsClient(fault)),
        }
    }

    fn read_tls_client(&self) -> Result<TlsClient, (&'static str, TlsFault)> {
        let item = self.item;
        let identity = match (item.text("cert"), item.text("key")) {
            ("", "") => None,
            ("", _) | (_, "") => return Err(("cert", TlsFault::HalfIdentity)),
            _ => Some(TlsIdentity {
                cert: self.readable("cert", TlsFault::File)?,
                key: self.readable("key", TlsFault::File)?,
            }),
        };
        Ok(TlsClient {
            name: item.text("name").to_owned(),
            identity,
            root_cas: self.readable_if_given("rootcas", TlsFault::RootCas)?,
            insecure_skip_verify: item.flag("insecureskipverify"),
            pinned_server_cert: self.fingerprints("pinnedservercert")?,
            skip_receptor_names_check: item.flag("skipreceptornamescheck"),
            min_tls13: item.flag("mintls13"),
        })
    }

    fn readable(
        &self,
        key: &'static str,
        fault: impl FnOnce(String) -> TlsFault,
    ) -> Result<PathBuf, (&'static str, TlsFault)> {
        let path = Path::new(self.item.text(key));
        match self.builder.host.open(path) {
            Ok(()) => Ok(path.to_path_buf()),
            Err(error) => Err((key, fault(host::system_text("open", path, &error)))),
        }
    }

    fn readable_if_given(
        &self,
        key: &'static str,
        fault: impl FnOnce(String) -> TlsFault,
    ) -> Result<Option<PathBuf>, (&'static str, TlsFault)> {
        match self.item.text(key) {
            "" => Ok(None),
            _ => self.readable(key, fault).map(Some),
        }
    }

    fn fingerprints(&self, key: &'static str) -> Result<Vec<Fingerprint>, (&'static str, TlsFault)> {
        self.item.list(key).iter().map(|text| fingerprint(text).map_err(|fault| (key, fault))).collect()
    }
}

/// Reads hexadecimal digits, with or without colons between bytes.
fn fingerprint(text: &str) -> Result<Fingerprint, TlsFault> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| *character != ':')
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or(TlsFault::FingerprintDigits)?;
    if !digits.len().is_multiple_of(2) {
        return Err(TlsFault::FingerprintDigits);
    }
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if let Ok(digest) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(Fingerprint::Sha256(digest));
    }
    let digest = <[u8; 64]>::try_from(bytes.as_slice()).map_err(|_| TlsFault::FingerprintLength)?;
    Ok(Fingerprint::Sha512(Box::new(digest)))
}
