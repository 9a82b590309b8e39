//! The files that clients find the API by.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Writes a kubeconfig for one account, readable by the owner alone.
pub(crate) fn write(path: &Path, server: &str, ca_pem: &str, user: &str, token: &str) -> io::Result<()> {
    let authority = STANDARD.encode(ca_pem);
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: podsim
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: \"{user}\"
  user:
    token: {token}
contexts:
- name: podsim
  context:
    cluster: podsim
    user: \"{user}\"
    namespace: default
current-context: podsim
"
    );
    // A new file, so that the mode holds and a reader never sees half of it.
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?.write_all(text.as_bytes())?;
    fs::rename(&fresh, path)
}
