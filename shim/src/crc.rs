//! CRC-32 as in Ethernet and zlib: it finds what was torn, it does not keep anybody from forging.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "evaluated when compiled")]
        {
            table[index as usize] = value;
        }
        index += 1;
    }
    table
}

/// The checksum of these bytes.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let last = bytes.iter().fold(u32::MAX, |crc, &byte| {
        let index = usize::from(crc.to_le_bytes().first().copied().unwrap_or_default() ^ byte);
        TABLE.get(index).copied().unwrap_or_default() ^ (crc >> 8)
    });
    !last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_value_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
