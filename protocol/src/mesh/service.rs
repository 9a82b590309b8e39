use std::fmt;

/// Longest name of a service, in bytes (mesh-protocol 3).
pub const SERVICE_NAME_LENGTH: usize = 8;

/// Name of a service as the data header holds it: at most eight bytes, padded with NUL.
///
/// One that is made here is not empty and does not end in NUL. One from the wire may be empty, and any bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName([u8; SERVICE_NAME_LENGTH]);

/// Why a text is no [`ServiceName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceNameError {
    /// Nothing was given.
    #[error("a service name cannot be empty")]
    Empty,
    /// More than [`SERVICE_NAME_LENGTH`] bytes. The text is the reference's.
    #[error("service name too long")]
    TooLong,
    /// The last byte is NUL, which would be lost on the wire.
    #[error("a service name cannot end in NUL")]
    EndsInNul,
}

impl ServiceName {
    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    /// If `text` is empty, too long, or ends in NUL.
    pub fn parse(text: &str) -> Result<Self, ServiceNameError> {
        let bytes = text.as_bytes();
        let mut name = [0; SERVICE_NAME_LENGTH];
        match bytes.last() {
            None => return Err(ServiceNameError::Empty),
            Some(0) => return Err(ServiceNameError::EndsInNul),
            Some(_) => {}
        }
        name.get_mut(..bytes.len()).ok_or(ServiceNameError::TooLong)?.copy_from_slice(bytes);
        Ok(Self(name))
    }

    /// The name that stands in a header.
    pub const fn from_wire(bytes: [u8; SERVICE_NAME_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The name as it stands in a header.
    pub const fn to_wire(self) -> [u8; SERVICE_NAME_LENGTH] {
        self.0
    }

    /// The name without its padding.
    pub fn as_bytes(&self) -> &[u8] {
        let length = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.0.get(..length).unwrap_or_default()
    }

    /// Whether this is the service called `name`.
    pub fn is(&self, name: &str) -> bool {
        self.as_bytes() == name.as_bytes()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_to_eight_bytes() {
        for good in ["control", "12345678", "a", "é\0b"] {
            let name = ServiceName::parse(good).unwrap();
            assert!(name.is(good));
            assert_eq!(name.to_string(), good);
            assert_eq!(ServiceName::from_wire(name.to_wire()), name);
        }
        assert_eq!(ServiceName::parse("a").unwrap().to_wire(), *b"a\0\0\0\0\0\0\0");
        assert_eq!(ServiceName::parse(""), Err(ServiceNameError::Empty));
        assert_eq!(ServiceName::parse("123456789"), Err(ServiceNameError::TooLong));
        assert_eq!(ServiceName::parse("a\0"), Err(ServiceNameError::EndsInNul));
        assert_eq!(ServiceNameError::TooLong.to_string(), "service name too long");
    }

    #[test]
    fn a_stranger_may_send_any_eight_bytes() {
        assert_eq!(ServiceName::from_wire([0; 8]).to_string(), "");
        assert_eq!(ServiceName::from_wire([0xff; 8]).as_bytes(), [0xff; 8]);
        assert_eq!(ServiceName::from_wire(*b"\0a\0\0\0\0\0\0").as_bytes(), b"\0a");
    }
}
