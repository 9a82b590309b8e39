//! Making certificates: actions that stand alone, do one thing and end (control-protocol 1.3, 1.4).

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;

/// One thing to do about certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertCommand {
    /// `cert-init`: make an authority.
    Init(CertInit),
    /// `cert-makereq`: ask for a certificate.
    Request(CertRequest),
    /// `cert-signreq`: turn a request into a certificate.
    Sign(CertSigning),
}

/// A new authority: `cert-init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInit {
    /// Common name of the authority; not empty.
    pub common_name: String,
    /// Length of its key.
    pub bits: KeyBits,
    /// Validity.
    pub validity: Validity,
    /// File for the certificate.
    pub out_cert: PathBuf,
    /// File for the key.
    pub out_key: PathBuf,
}

/// A request for a certificate: `cert-makereq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertRequest {
    /// Common name asked for; not empty.
    pub common_name: String,
    /// DNS names asked for; all ASCII.
    pub dns_names: Vec<String>,
    /// Addresses asked for.
    pub ip_addresses: Vec<IpAddr>,
    /// Node IDs asked for.
    pub node_ids: Vec<String>,
    /// The key that the certificate will be for.
    pub key: RequestKey,
    /// File for the request.
    pub out_req: PathBuf,
}

/// The key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestKey {
    /// The one in this file.
    Existing(PathBuf),
    /// A new one.
    New {
        /// Its length.
        bits: KeyBits,
        /// File for it.
        file: PathBuf,
    },
}

/// A request to be signed: `cert-signreq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertSigning {
    /// File of the request.
    pub req: PathBuf,
    /// File of the authority's certificate.
    pub ca_cert: PathBuf,
    /// File of the authority's key.
    pub ca_key: PathBuf,
    /// Validity.
    pub validity: Validity,
    /// File for the certificate.
    pub out_cert: PathBuf,
    /// Sign without showing the request and asking. The reference calls this `verify`.
    pub without_asking: bool,
}

/// When a certificate is valid; what is not given is now, or a year (an authority: ten) from now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: Option<Timestamp>,
    /// Last moment.
    pub not_after: Option<Timestamp>,
}

/// Length of a new RSA key: 2048, 3072 or 4096 bits. Shorter ones are refused by TLS stacks, longer ones cannot be used by
/// ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBits(u32);

impl KeyBits {
    /// What the reference takes where it is told 0.
    pub const DEFAULT: Self = Self(2048);

    /// Checks a length; 0 is the default.
    #[must_use]
    pub fn new(bits: i64) -> Option<Self> {
        match bits {
            0 => Some(Self::DEFAULT),
            2048 | 3072 | 4096 => u32::try_from(bits).ok().map(Self),
            _ => None,
        }
    }

    /// The length in bits.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}
