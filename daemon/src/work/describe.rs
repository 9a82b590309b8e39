//! All that is known of a unit (work-types 2.8, 5): its status, and what its other files say. Of secrets, their names.

use std::{fs::File, io::Read};

use serde_json::{Map, Value};
use worknode_protocol::control::DescribeAnswer;

use super::unit::UnitHandle;

/// Most of a file that is read: those of ours are far smaller, but for secrets, which hold a pod definition and a
/// kubeconfig.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Describes a unit. Blocks.
pub fn describe(unit: &UnitHandle) -> DescribeAnswer {
    let secrets = object(unit, "secrets.json").unwrap_or_default();
    DescribeAnswer {
        unit: unit.id().clone(),
        status: unit.status(),
        stdin: std::fs::metadata(unit.dir().stdin()).map_or(0, |file| file.len()),
        secrets: secrets.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect(),
        object: object(unit, "worknode.json"),
    }
}

/// The object in a file of the unit, if there is one.
fn object(unit: &UnitHandle, name: &str) -> Option<Map<String, Value>> {
    let mut text = Vec::new();
    File::open(unit.dir().file(name)).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
