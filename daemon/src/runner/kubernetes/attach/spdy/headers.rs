//! Header blocks: one zlib stream per direction for the whole connection, each block ended by a sync flush
//! (kubernetes-streams 3.2).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary;

/// Longest block of the server's, unpacked. It has none that says anything: all of its headers are empty.
const BLOCK: usize = 64 * 1024;
/// Bytes of output that are made room for at once.
const STEP: usize = 1024;

/// A block that is not as it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum HeaderError {
    #[error("a header block could not be packed")]
    Pack,
    #[error("a header block could not be unpacked")]
    Unpack,
    #[error("a header block is too long")]
    TooLong,
}

/// Packs the blocks of one direction, in the order in which they are sent.
pub(super) struct Packer(Compress);

impl Packer {
    pub(super) fn new() -> Result<Self, HeaderError> {
        let mut zlib = Compress::new(Compression::best(), true);
        zlib.set_dictionary(&dictionary::bytes()).map_err(|_| HeaderError::Pack)?;
        Ok(Self(zlib))
    }

    /// The block with these headers.
    pub(super) fn block(&mut self, headers: &[(&str, &str)]) -> Result<Vec<u8>, HeaderError> {
        let plain = plain(headers).ok_or(HeaderError::TooLong)?;
        let mut packed = Vec::with_capacity(plain.len() + STEP);
        let mut taken = 0;
        loop {
            let rest = plain.get(taken..).unwrap_or_default();
            let before = self.0.total_in();
            self.0.compress_vec(rest, &mut packed, FlushCompress::Sync).map_err(|_| HeaderError::Pack)?;
            taken += usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
            // Room that is left says that all of it is out, the flush included.
            if taken >= plain.len() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(STEP);
        }
    }
}

/// Count, then for each header the length and bytes of its name and of its value. `None`: too long for that.
fn plain(headers: &[(&str, &str)]) -> Option<Vec<u8>> {
    let number = |count: usize| u32::try_from(count).ok().map(u32::to_be_bytes);
    let mut plain = Vec::new();
    plain.extend(number(headers.len())?);
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        plain.extend(number(text.len())?);
        plain.extend(text.as_bytes());
    }
    Some(plain)
}

/// Unpacks the blocks of one direction. It must see every one of them, in order.
pub(super) struct Unpacker(Decompress);

impl Unpacker {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// What a block holds. After an error nothing more can be unpacked.
    pub(super) fn block(&mut self, packed: &[u8]) -> Result<Vec<u8>, HeaderError> {
        let mut plain = Vec::with_capacity(STEP);
        let mut taken = 0;
        loop {
            let rest = packed.get(taken..).unwrap_or_default();
            let before = self.0.total_in();
            let result = self.0.decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            taken += usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
            match result {
                Err(fault) if fault.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary::bytes()).map_err(|_| HeaderError::Unpack)?;
                    continue;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(HeaderError::Unpack),
                Ok(Status::Ok | Status::BufError) => {}
            }
            if plain.len() > BLOCK {
                return Err(HeaderError::TooLong);
            }
            if plain.len() < plain.capacity() {
                // With room left, what was not taken never will be.
                return if taken >= packed.len() { Ok(plain) } else { Err(HeaderError::Unpack) };
            }
            plain.reserve(STEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    /// kubernetes-streams 3.2, packed by another zlib.
    const ERROR: &[u8] = &[
        0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0x02, 0xa6, 0x23, 0x46, 0x70, 0x3a, 0x2b, 0x29, 0x4a, 0x4d, 0xcc, 0x85,
        0x16, 0x25, 0xac, 0xa9, 0xa0, 0x80, 0x06, 0x00, 0x00, 0x00, 0xff, 0xff,
    ];

    #[test]
    fn the_first_block_is_that_of_the_reference() {
        let headers = [("streamtype", "error")];
        assert_eq!(Unpacker::new().block(ERROR).unwrap(), plain(&headers).unwrap());
        let packed = Packer::new().unwrap().block(&headers).unwrap();
        assert_eq!(packed[..6], ERROR[..6], "zlib with the dictionary's number");
        assert_eq!(Unpacker::new().block(&packed).unwrap(), plain(&headers).unwrap());
    }

    #[test]
    fn a_block_that_explodes_is_refused() {
        let long = "x".repeat(10 * BLOCK);
        let packed = Packer::new().unwrap().block(&[("a", &long)]).unwrap();
        assert!(packed.len() < BLOCK / 8);
        assert_eq!(Unpacker::new().block(&packed), Err(HeaderError::TooLong));
    }

    #[test]
    fn the_end_of_the_stream_is_no_block() {
        let mut zlib = Compress::new(Compression::best(), true);
        let mut ended = Vec::with_capacity(STEP);
        zlib.compress_vec(b"\0\0\0\0", &mut ended, FlushCompress::Finish).unwrap();
        assert_eq!(Unpacker::new().block(&ended), Err(HeaderError::Unpack));
    }

    proptest! {
        #[test]
        fn blocks_come_out_as_they_went_in(
            blocks in collection::vec(collection::vec((".{0,40}", ".{0,40}"), 0..5), 0..8),
        ) {
            let (mut packer, mut unpacker) = (Packer::new().unwrap(), Unpacker::new());
            for block in &blocks {
                let headers: Vec<_> = block.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let packed = packer.block(&headers).unwrap();
                prop_assert!(packed.ends_with(&[0, 0, 0xff, 0xff]));
                prop_assert_eq!(unpacker.block(&packed).unwrap(), plain(&headers).unwrap());
            }
        }

        #[test]
        fn no_bytes_are_too_wild(blocks: Vec<Vec<u8>>) {
            let mut unpacker = Unpacker::new();
            for block in &blocks {
                let mut packed = ERROR[..6].to_vec();
                packed.extend(block);
                if let Ok(plain) = unpacker.block(&packed) {
                    prop_assert!(plain.len() <= BLOCK);
                }
            }
        }
    }
}
