//! Every file of `config-examples/` is one that the daemon runs, and the check mode says so.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::io;
use std::path::{Path, PathBuf};

use worknode_protocol::config::model::allow::Rights;
use worknode_protocol::config::model::{AuthMethod, NodeConfig, StreamMethod, WorkType};
use worknode_protocol::config::{Host, Startup, load};

/// The real examples on a machine where every file that they name is there.
struct Examples;

impl Host for Examples {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
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
        Err(io::ErrorKind::NotFound.into())
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config-examples")
}

fn example(name: &str) -> NodeConfig {
    let path = directory().join(name).display().to_string();
    match load(&["-c".to_owned(), path], &Examples) {
        Ok(Startup::Run(start)) => {
            assert_eq!(start.notices, Vec::<String>::new(), "{name}");
            start.config
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_example_can_be_run() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        // Below it stand pod definitions, which are not the daemon's to read at start.
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(example(&name).has_backend(), "{name}");
        let words = ["--check-config".to_owned(), "-c".to_owned(), path.display().to_string()];
        match load(&words, &Examples) {
            Ok(Startup::CheckConfig(report)) => assert!(report.usable, "{}", report.text),
            other => panic!("{name}: {other:?}"),
        }
        names.push(name);
    }
    names.sort();
    assert_eq!(
        names,
        [
            "allow.yml",
            "awx.yml",
            "bridges.yml",
            "incluster.yml",
            "kubernetes.yml",
            "local.yml",
            "lossless.yml",
            "mesh-hub.yml",
            "mesh-leaf.yml",
            "podsim.yml",
            "shared-cluster.yml",
            "tls-tcp.yml"
        ]
    );
}

#[test]
fn the_examples_say_what_their_remarks_say() {
    let kubeit = |name| match example(name).work_types.remove(0) {
        WorkType::Kubernetes(kubernetes) => kubernetes,
        WorkType::Command(_) => panic!("{name}"),
    };
    for name in ["podsim.yml", "kubernetes.yml"] {
        let kubeit = kubeit(name);
        assert_eq!(kubeit.work_type, "kubeit");
        assert_eq!((kubeit.auth_method, kubeit.kubeconfig), (AuthMethod::Kubeconfig, None));
        assert!(kubeit.allow_runtime_auth && kubeit.allow_runtime_pod && kubeit.allow_runtime_params);
    }
    assert_eq!(kubeit("incluster.yml").auth_method, AuthMethod::InCluster);
    assert_eq!(kubeit("lossless.yml").stream_method, StreamMethod::Shim);
    let awx = example("awx.yml");
    let names: Vec<_> = awx.work_types.iter().map(WorkType::name).collect();
    assert_eq!(names, ["local", "kubernetes-runtime-auth", "kubernetes-incluster-auth"]);
    assert_eq!((awx.node.firewall_rules.len(), awx.control_services[0].permissions), (1, 0o660));
    let tls = example("tls-tcp.yml");
    assert_eq!(tls.control_services[0].tcp_tls.as_deref(), Some("clients"));
    assert!(tls.tls_server("clients").unwrap().require_client_cert);
    assert_eq!(tls.work_types.iter().map(WorkType::verify_signature).collect::<Vec<_>>(), [false, true]);
    assert!(tls.work_verification.is_some());
    let (hub, leaf, edge) = (example("mesh-hub.yml"), example("mesh-leaf.yml"), example("bridges.yml"));
    assert_eq!((hub.mesh.backends.len(), leaf.mesh.backends.len()), (3, 2));
    assert!(hub.tls_server("mesh").unwrap().require_client_cert && leaf.tls_client("mesh").unwrap().min_tls13);
    assert_eq!((edge.mesh.bridges.len(), edge.mesh.ip_routers.len()), (6, 1));
    let rules = example("allow.yml").control_services.remove(0).allow.unwrap();
    assert_eq!((rules.len(), &rules[0].rights), (6, &Rights::all()));
    assert_eq!(example("local.yml").work_types.len(), 2);
}
