//! Making certificates. These actions stand alone, so there is no node around them.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::config::error::{CheckError, ConfigError, Phase, Problem};
use crate::config::item::Item;
use crate::config::model::certs::{CertCommand, CertInit, CertRequest, CertSigning, KeyBits, RequestKey, Validity};

/// A parameter and what is wrong with it; an empty name is the action as a whole.
type Fault = (&'static str, CheckError);

/// What an action orders, if it is about certificates.
pub(in crate::config) fn certificates(item: &Item) -> Option<Result<CertCommand, Problem>> {
    let command = match item.action.name {
        "cert-init" => init(item).map(CertCommand::Init),
        "cert-makereq" => request(item).map(CertCommand::Request),
        "cert-signreq" => signing(item).map(CertCommand::Sign),
        _ => return None,
    };
    Some(command.map_err(|(key, error)| {
        let place = if key.is_empty() { item.place.clone() } else { item.place_of(key) };
        Problem { place, phase: Phase::Run, error: ConfigError::Check(error) }
    }))
}

fn init(item: &Item) -> Result<CertInit, Fault> {
    Ok(CertInit {
        common_name: common_name(item)?,
        bits: bits(item)?,
        validity: validity(item)?,
        out_cert: path(item, "outcert")?,
        out_key: path(item, "outkey")?,
    })
}

fn request(item: &Item) -> Result<CertRequest, Fault> {
    let key = request_key(item)?;
    let dns_names = item.list("dnsname");
    if let Some(name) = dns_names.iter().find(|name| !name.is_ascii()) {
        return Err(("dnsname", CheckError::DnsName(name.clone())));
    }
    let address = |text: &String| text.parse().map_err(|_| ("ipaddress", CheckError::IpAddress(text.clone())));
    Ok(CertRequest {
        common_name: common_name(item)?,
        dns_names: dns_names.to_vec(),
        ip_addresses: item.list("ipaddress").iter().map(address).collect::<Result<_, _>>()?,
        node_ids: item.list("nodeid").to_vec(),
        key,
        out_req: path(item, "outreq")?,
    })
}

/// Exactly one of an existing key and a new one, and a length for a new one alone.
fn request_key(item: &Item) -> Result<RequestKey, Fault> {
    let given = item.int("bits").unwrap_or_default() != 0;
    let text = match (item.path("inkey"), item.path("outkey"), given) {
        (None, None, _) => "must provide either InKey or OutKey",
        (Some(_), Some(_), _) => "cannot use both InKey and OutKey",
        (Some(_), None, true) => "cannot specify key bits when reading an already-existing key",
        (None, Some(_), false) => "must specify key bits when creating a new key",
        (Some(file), None, false) => return Ok(RequestKey::Existing(file)),
        (None, Some(file), true) => return Ok(RequestKey::New { bits: bits(item)?, file }),
    };
    Err(("", CheckError::CertRequest(text)))
}

fn signing(item: &Item) -> Result<CertSigning, Fault> {
    Ok(CertSigning {
        req: path(item, "req")?,
        ca_cert: path(item, "cacert")?,
        ca_key: path(item, "cakey")?,
        validity: validity(item)?,
        out_cert: path(item, "outcert")?,
        without_asking: item.flag("verify"),
    })
}

fn common_name(item: &Item) -> Result<String, Fault> {
    item.filled("commonname").ok_or(("commonname", CheckError::CertRequest("must provide CommonName")))
}

fn bits(item: &Item) -> Result<KeyBits, Fault> {
    let bits = item.int("bits").unwrap_or_default();
    KeyBits::new(bits).ok_or(("bits", CheckError::KeyBits(bits)))
}

/// A file name; an empty one is what the system says it is.
fn path(item: &Item, key: &'static str) -> Result<PathBuf, Fault> {
    item.path(key).ok_or_else(|| (key, CheckError::KeyFile("open : no such file or directory".to_owned())))
}

fn validity(item: &Item) -> Result<Validity, Fault> {
    Ok(Validity { not_before: moment(item, "notbefore")?, not_after: moment(item, "notafter")? })
}

/// A moment of RFC 3339. A certificate can hold none before 1950.
fn moment(item: &Item, key: &'static str) -> Result<Option<Timestamp>, Fault> {
    let Some(text) = item.filled(key) else { return Ok(None) };
    let first = date(1950, 1, 1).to_zoned(TimeZone::UTC).map(|first| first.timestamp()).unwrap_or_default();
    match text.parse::<Timestamp>() {
        Ok(moment) if moment >= first => Ok(Some(moment)),
        _ => Err((key, CheckError::Moment(text))),
    }
}
