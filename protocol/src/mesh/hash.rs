use highway::{HighwayHash, HighwayHasher, Key};

/// The hash by which the data header names a node: HighwayHash-64 of its name with a key of zeros (mesh-protocol 3.1).
///
/// On the wire it stands in big-endian order. `localhost` is to be replaced by the own name before.
pub fn name_hash(name: &str) -> u64 {
    let mut hasher = HighwayHasher::new(Key([0; 4]));
    hasher.append(name.as_bytes());
    hasher.finalize64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of mesh-protocol 3.1.
    #[test]
    fn names_are_hashed_as_in_the_reference() {
        for (name, hash) in [
            ("", 0x7035_da75_b9d5_4469),
            ("a", 0xbd6e_fba9_eb78_e61f),
            ("node1", 0x6105_2d2b_582e_b15e),
            ("gonode", 0xfc93_93bd_9ab3_4eba),
            ("receptor", 0x3e4e_e993_0499_1330),
            ("foo.example.com", 0xa442_5a4c_9c26_8bba),
        ] {
            assert_eq!(name_hash(name), hash, "{name}");
        }
    }
}
