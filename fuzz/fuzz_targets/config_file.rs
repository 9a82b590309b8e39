//! Any bytes as a configuration file of either dialect: read without a panic, and what is run can be run.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use worknode_protocol::config::{Host, Startup, load};
use worknode_protocol::yaml;

/// A machine on which every file holds the same bytes.
struct OneFile<'a>(&'a [u8]);

impl Host for OneFile<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }

    fn open(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn stat(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn host_name(&self) -> io::Result<String> {
        Ok("host1".to_owned())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let host = OneFile(bytes);
    // One way of reading for each input, chosen by its length: four would be four times as slow.
    match bytes.len() % 4 {
        0 => check_agrees_with_start(&host),
        1 => check_id(run(&["-c", "/node.yml"], &host)),
        2 => check_id(run(&["--config-v2", "-c", "/node.yml"], &host)),
        _ => {
            // The other shape that YAML is read as: pod definitions and kubeconfigs.
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = yaml::from_str::<serde_json::Value>(text);
            }
        }
    }
});

/// What the check finds usable starts, and the reverse, save for a node that has nothing to do.
fn check_agrees_with_start(host: &OneFile<'_>) {
    let start = run(&["-c", "/node.yml"], host);
    let report = run(&["--check-config", "-c", "/node.yml"], host);
    match (start, report) {
        (Some(Startup::Run(start)), Some(Startup::CheckConfig(report))) => {
            assert_eq!(report.usable, start.config.has_backend());
        }
        (None, Some(Startup::CheckConfig(report))) => assert!(!report.usable),
        // A file with the action `version` alone.
        _ => {}
    }
}

fn run(words: &[&str], host: &OneFile<'_>) -> Option<Startup> {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    match load(&words, host) {
        Ok(startup) => Some(startup),
        Err(error) => {
            assert!(error.to_string().starts_with("Error: "));
            None
        }
    }
}

/// An ID is the name of a directory and stands in the banner's line.
fn check_id(startup: Option<Startup>) {
    let Some(Startup::Run(start)) = startup else { return };
    let id = start.config.node.id.as_str();
    assert!(!id.is_empty() && id != "." && id != ".." && id.len() <= 255);
    assert!(!id.contains(['/', '\0', '\n']));
}
