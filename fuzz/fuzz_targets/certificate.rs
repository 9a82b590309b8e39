//! Any bytes as a certificate that a peer presents: its node IDs are told or refused, and are shorter than the certificate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use worknode_mesh::tls::receptor_names;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(names) = receptor_names(&bytes.into()) {
        assert!(names.iter().map(String::len).sum::<usize>() < bytes.len());
    }
});
