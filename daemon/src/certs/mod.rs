//! Making certificates: `cert-init`, `cert-makereq`, `cert-signreq` (control-protocol 1.4). Each does one thing and ends.
//!
//! ```text
//! cert-init ──▶ ca.crt, ca.key ──────────────┐
//! cert-makereq ──▶ node.key, node.req ──▶ cert-signreq ──▶ node.crt
//! ```
//!
//! What is written is what the reference writes: RSA keys, PEM, names of nodes as receptor names. Keys are never written
//! over; everything is checked before anything is written.

mod certificate;
mod der;
mod files;
mod key;
mod request;
mod rsa;
#[cfg(test)]
mod tests;

use std::io::{BufRead, Write};

use worknode_protocol::config::model::certs::{CertCommand, CertInit, CertRequest, CertSigning, RequestKey};

use self::{certificate::Authority, key::Key, request::Request};

/// Why nothing was made. `Display` follows `Error: `; the texts are the reference's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file cannot be read or written.
    #[error("open {file}: {}", .fault.to_string().split(" (os error").next().unwrap_or_default().to_lowercase())]
    File {
        /// The file.
        file: String,
        /// The system's words.
        fault: std::io::Error,
    },
    /// A file is there whose content cannot be made again.
    #[error("open {0}: file exists, and a key is not written over")]
    KeyExists(String),
    /// A file is no PEM.
    #[error("{file}: {fault}")]
    Pem {
        /// The file.
        file: String,
        /// What is wrong with it.
        fault: rustls_pki_types::pem::Error,
    },
    /// A file holds something else, or several.
    #[error("{0}")]
    Content(String),
    /// A key of a kind or length that cannot be used.
    #[error("{file}: {fault}")]
    Key {
        /// The file, or what the key is for.
        file: String,
        /// What is wrong with it.
        fault: rustls::Error,
    },
    /// The request or the authority's certificate cannot be used.
    #[error("{file}: {why}")]
    Unusable {
        /// The file.
        file: String,
        /// Why.
        why: &'static str,
    },
    /// A request asks for no name (control-protocol 1.4).
    #[error("cannot sign: no names found in certificate")]
    NoNames,
    /// The authority's key is that of another certificate.
    #[error("x509: provided PrivateKey doesn't match parent's PublicKey")]
    OtherKey,
    /// The certificate would never be valid.
    #[error("notafter is not later than notbefore")]
    NeverValid,
    /// No answer to the question whether to sign.
    #[error("{0}")]
    NoAnswer(&'static str),
    /// The answer was no.
    #[error("user declined")]
    Declined,
    /// The terminal is gone.
    #[error(transparent)]
    Terminal(#[from] std::io::Error),
}

/// Does one thing about certificates. `input` and `output` are the terminal of whoever is asked.
///
/// # Errors
/// See [`CertError`]; nothing has been written then.
pub fn run(command: &CertCommand, input: &mut impl BufRead, output: &mut impl Write) -> Result<(), CertError> {
    match command {
        CertCommand::Init(init) => self::init(init),
        CertCommand::Request(order) => request(order),
        CertCommand::Sign(order) => sign(order, input, output),
    }
}

fn init(order: &CertInit) -> Result<(), CertError> {
    files::check_new(&order.out_key)?;
    let (key, pem) = Key::generate(order.bits)?;
    let certificate = certificate::authority(order, &key)?;
    files::write_pair(&order.out_key, &pem, &order.out_cert, &files::pem("CERTIFICATE", &certificate))
}

fn request(order: &CertRequest) -> Result<(), CertError> {
    let encode = |key: &Key| Ok::<_, CertError>(files::pem("CERTIFICATE REQUEST", &request::encode(order, key)?));
    match &order.key {
        RequestKey::Existing(file) => files::write(&order.out_req, &encode(&Key::read(file)?)?),
        RequestKey::New { bits, file } => {
            files::check_new(file)?;
            let (key, pem) = Key::generate(*bits)?;
            files::write_pair(file, &pem, &order.out_req, &encode(&key)?)
        }
    }
}

fn sign(order: &CertSigning, input: &mut impl BufRead, output: &mut impl Write) -> Result<(), CertError> {
    let authority = Authority::read(&order.ca_cert, &order.ca_key)?;
    let request = Request::read(&order.req)?;
    if !order.without_asking {
        write!(output, "{}Sign certificate (yes/no)? ", request.shown())?;
        output.flush()?;
        agreed(input)?;
    }
    let certificate = authority.sign(&request, order.validity)?;
    files::write(&order.out_cert, &files::pem("CERTIFICATE", &certificate))
}

/// Reads one word, as the reference does.
fn agreed(input: &mut impl BufRead) -> Result<(), CertError> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Err(CertError::NoAnswer("EOF"));
    }
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (None, _) => Err(CertError::NoAnswer("unexpected newline")),
        (Some(_), Some(_)) => Err(CertError::NoAnswer("expected newline")),
        (Some(word), None) if matches!(word.to_lowercase().as_str(), "y" | "yes") => Ok(()),
        (Some(_), None) => Err(CertError::Declined),
    }
}
