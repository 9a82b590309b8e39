//! Any bytes as a command line of the control service: read without a panic, refused with whole lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use worknode_protocol::control::{Parsed, parse};

fuzz_target!(|line: &[u8]| {
    if let Parsed::Refused(refusal) = parse(line) {
        let lines = refusal.to_lines();
        assert!(lines.starts_with("ERROR: ") && lines.ends_with('\n'));
    }
});
