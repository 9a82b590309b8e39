//! Making certificates; each of these actions stands alone.

use super::{Action, file, flag, int, list, text};

pub(in crate::config) static CERT_INIT: Action = Action::new(
    "cert-init",
    "Make an authority for certificates",
    &[
        text("commonname", "common name of the authority").required(),
        int("bits", "length of the key").required(),
        text("notbefore", "first moment of validity, RFC 3339"),
        text("notafter", "last moment of validity, RFC 3339"),
        file("outcert", "file for the certificate").required(),
        file("outkey", "file for the key").required(),
    ],
)
.alone();

pub(in crate::config) static CERT_MAKEREQ: Action = Action::new(
    "cert-makereq",
    "Make a request for a certificate",
    &[
        text("commonname", "common name to ask for").required(),
        int("bits", "length of a new key"),
        list("dnsname", "DNS names to ask for"),
        list("ipaddress", "addresses to ask for"),
        list("nodeid", "node IDs to ask for"),
        file("outreq", "file for the request").required(),
        file("inkey", "file of an existing key"),
        file("outkey", "file for a new key"),
    ],
)
.alone();

pub(in crate::config) static CERT_SIGNREQ: Action = Action::new(
    "cert-signreq",
    "Sign a request for a certificate",
    &[
        file("req", "file of the request").required(),
        file("cacert", "file of the authority's certificate").required(),
        file("cakey", "file of the authority's key").required(),
        text("notbefore", "first moment of validity, RFC 3339"),
        text("notafter", "last moment of validity, RFC 3339"),
        file("outcert", "file for the certificate").required(),
        flag("verify", "do not ask before signing"),
    ],
)
.alone();
