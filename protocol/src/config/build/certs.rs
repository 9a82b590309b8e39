//! Requests for certificates.

use crate::config::error::{CheckError, Phase};

use super::reader::Reader;

impl Reader<'_, '_> {
    /// Exactly one of an existing key and a new one, and a length for a new one alone.
    pub(super) fn cert_request(&mut self) {
        let (old, new) = (!self.item.text("inkey").is_empty(), !self.item.text("outkey").is_empty());
        let bits = self.item.int("bits").unwrap_or_default() != 0;
        let text = match (old, new, bits) {
            (false, false, _) => "must provide either InKey or OutKey",
            (true, true, _) => "cannot use both InKey and OutKey",
            (true, false, true) => "cannot specify key bits when reading an already-existing key",
            (false, true, false) => "must specify key bits when creating a new key",
            _ => return,
        };
        self.refuse(Phase::Prepare, "", CheckError::CertRequest(text));
    }
}
