//! Compiles the shim for the pods: static, so that it runs in any image, and small, for it is sent to each pod.
//!
//! rustc is called directly: cargo builds a workspace for one way of linking only. Where the machine has no static C library
//! the daemon is built without a shim, and refuses `streammethod: shim` with these words.

#[allow(dead_code, missing_docs, unreachable_pub, reason = "a part of the shim")]
#[path = "../shim/src/crc.rs"]
mod crc;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../shim/src");
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let out = variable("OUT_DIR");
    let program = out.join("worknode-shim");
    if let Err(why) = compile(&variable("RUSTC"), &variable("CARGO_MANIFEST_DIR").join("../shim/src"), &out) {
        println!("cargo::warning=no shim for pods: {why}");
        let _ = fs::write(&program, b"");
    }
    let bytes = fs::read(&program).unwrap_or_default();
    println!("cargo::rustc-env=WORKNODE_SHIM_CRC={}", crc::crc32(&bytes));
    if has_short_relocations() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the C library of this machine, for which the program is built, can read relocations in their short form (glibc 2.36).
/// The loader touches all of them at each start: 0.7 MB in the long form, 12 KB in the short one.
fn has_short_relocations() -> bool {
    let is_own = env::var("TARGET")
        .ok()
        .is_some_and(|target| env::var("HOST").ok() == Some(target.clone()) && target.ends_with("linux-gnu"));
    let version = || {
        let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
        let text = String::from_utf8(answer.stdout).ok()?;
        let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    is_own && version().is_some_and(|version| version >= (2, 36))
}

/// The library first, then the program with it.
fn compile(rustc: &Path, source: &Path, out: &Path) -> Result<(), String> {
    let library = out.join("libworknode_shim.rlib");
    let mut common =
        vec!["--edition=2024", "-Cpanic=abort", "-Copt-level=2", "-Cdebuginfo=0", "-Ctarget-feature=+crt-static"]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
    let (target, host) = (env::var("TARGET").unwrap_or_default(), env::var("HOST").unwrap_or_default());
    if target != host {
        common.push(format!("--target={target}"));
        if let Ok(linker) = env::var("RUSTC_LINKER") {
            common.push(format!("-Clinker={linker}"));
        }
    }
    let run = |command: &mut Command| {
        let done = command.args(&common).output().map_err(|fault| fault.to_string())?;
        if done.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        Err(words
            .lines()
            .rfind(|line| line.contains("error") || line.contains("ld:"))
            .unwrap_or("rustc failed")
            .to_owned())
    };
    let mut rlib = Command::new(rustc);
    rlib.args(["--crate-type=rlib", "--crate-name=worknode_shim", "-Cembed-bitcode=yes", "-o"]);
    run(rlib.arg(&library).arg(source.join("lib.rs")))?;
    let mut bin = Command::new(rustc);
    bin.args(["--crate-type=bin", "--crate-name=shim", "-Clto", "-Cstrip=symbols", "-o"])
        .arg(out.join("worknode-shim"));
    run(bin.arg(format!("--extern=worknode_shim={}", library.display())).arg(source.join("main.rs")))
}
