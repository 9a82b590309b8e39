//! Files of certificates: PEM, readable by their owner alone.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};

use super::CertError;

/// Mode of everything that is written, as in the reference.
const OWNER_ONLY: u32 = 0o600;
/// Largest file that is read. A certificate has some kilobytes.
const LARGEST: u64 = 1024 * 1024;

/// DER as PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, CertError> {
    use io::Read;
    let mut content = Vec::new();
    let read = fs::File::open(file).and_then(|open| open.take(LARGEST).read_to_end(&mut content));
    read.map_err(|fault| failed(file, fault))?;
    Ok(content)
}

/// Refuses a file for a key that is there already: a lost key of an authority cannot be replaced.
pub(super) fn check_new(key: &Path) -> Result<(), CertError> {
    match fs::symlink_metadata(key) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(CertError::KeyExists(key.display().to_string())),
        Err(fault) => Err(failed(key, fault)),
    }
}

/// Writes a key and what was made with it; if the second cannot be written, the first is taken back.
pub(super) fn write_pair(key: &Path, secret: &SecretString, file: &Path, text: &str) -> Result<(), CertError> {
    let mut open = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(key).map_err(|fault| {
        if fault.kind() == io::ErrorKind::AlreadyExists {
            CertError::KeyExists(key.display().to_string())
        } else {
            failed(key, fault)
        }
    })?;
    let written = open.write_all(secret.expose_secret().as_bytes()).and_then(|()| open.sync_all());
    let written = written.map_err(|fault| failed(key, fault)).and_then(|()| write(file, text));
    if written.is_err() {
        let _ = fs::remove_file(key);
    }
    written
}

/// Writes a certificate or a request, in one step over one that is there: a daemon may be about to read it.
pub(super) fn write(file: &Path, text: &str) -> Result<(), CertError> {
    let special = fs::metadata(file).is_ok_and(|data| !data.is_file());
    let result = if special { fs::write(file, text) } else { replace(file, text) };
    result.map_err(|fault| failed(file, fault))
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().permissions(Permissions::from_mode(OWNER_ONLY)).tempfile_in(directory)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(&file).map_err(|failed| failed.error)?;
    Ok(())
}

fn failed(file: &Path, fault: io::Error) -> CertError {
    CertError::File { file: file.display().to_string(), fault }
}
