//! What goes into a pod and what comes out of it.

use anyhow::{Context, ensure};
use base64::Engine as _;
use rand::RngExt as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use worknode_tests::{Harness, State};

use crate::on_clusters;
use crate::world::{clean, node, pod, submit};

/// Wide enough for the base64 alphabet's lines of `base64(1)`.
const LINE: usize = 76;

on_clusters! {
    /// The main example of the Kubernetes page of receptor's documentation: kubeconfig and pod are given at run time.
    fn the_main_job(cluster) -> Result<()> {
        let kubeit = json!({
            "worktype": "kubeit", "authmethod": "kubeconfig",
            "allowruntimeauth": true, "allowruntimepod": true, "allowruntimeparams": true,
        });
        let id = format!("test-{:08x}", rand::random::<u32>());
        let node = Harness::new()?.id(&id).action("work-kubernetes", kubeit).start()?;
        let kubeconfig = std::fs::read_to_string(cluster.kubeconfig())?;
        let parameters = [("secret_kube_config", kubeconfig.as_str()), ("secret_kube_pod", &pod("cat; echo done"))];
        let unit = node.submit_with("kubeit", &parameters, b"hello from the daemon\n")?;
        let status = node.wait_ended(&unit)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Succeeded, "Finished"));
        assert_eq!(node.results(&unit)?, b"hello from the daemon\ndone\n");
        assert_eq!(status.stdout_size, 27);
        let name = status.extra["PodName"].as_str().context("no PodName")?;
        assert!(name.starts_with("myapp-pod-"), "{name}");
        clean(&node, cluster, &[&unit])
    }

    /// Go receptor never attaches then, and the reader waits for ever (weakness 25).
    fn an_empty_payload_ends_a_reader(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "cat; echo end", b"")?;
        assert_eq!(node.wait_ended(&unit)?.state, State::Succeeded);
        assert_eq!(node.results(&unit)?, b"end\n");
        clean(&node, cluster, &[&unit])
    }

    /// Go receptor loses it (weakness 22).
    fn a_last_line_without_line_feed_is_kept(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo first; printf last", b"")?;
        assert_eq!(node.wait_ended(&unit)?.stdout_size, 10);
        assert_eq!(node.results(&unit)?, b"first\nlast");
        clean(&node, cluster, &[&unit])
    }

    fn two_hundred_thousand_lines_come_once_each(cluster) -> Result<()> {
        const LINES: usize = 200_000;
        let node = node(cluster)?;
        // A process that writes much and exits at once loses its last bytes in the container runtime, before any log.
        let unit = submit(&node, &format!("seq 1 {LINES}; sleep 1"), b"")?;
        let mut expected: Vec<u8> = Vec::new();
        for line in 1..=LINES {
            expected.extend_from_slice(format!("{line}\n").as_bytes());
        }
        let output = node.results(&unit)?;
        ensure!(output == expected, "{} bytes came, {} were written", output.len(), expected.len());
        assert_eq!(node.wait_ended(&unit)?.state, State::Succeeded);
        clean(&node, cluster, &[&unit])
    }

    fn megabytes_through_cat_are_the_same(cluster) -> Result<()> {
        let mut random = vec![0_u8; 6 << 20];
        rand::rng().fill(random.as_mut_slice());
        let text = base64::engine::general_purpose::STANDARD.encode(random);
        let payload: Vec<u8> = text.as_bytes().chunks(LINE).flat_map(|line| line.iter().chain(b"\n")).copied().collect();
        let node = node(cluster)?;
        let unit = submit(&node, "cat; sleep 1", &payload)?;
        let output = node.results(&unit)?;
        assert_eq!(Sha256::digest(&output), Sha256::digest(&payload), "{} of {} bytes", output.len(), payload.len());
        assert_eq!(node.wait_ended(&unit)?.state, State::Succeeded);
        clean(&node, cluster, &[&unit])
    }

    /// A pod that writes much while it is being sent much must not stand still.
    fn output_flows_while_the_payload_is_sent(cluster) -> Result<()> {
        let node = node(cluster)?;
        let payload = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n".repeat(20_000);
        let unit = submit(&node, "seq 1 50000; cat; echo end", &payload)?;
        let output = node.results(&unit)?;
        assert!(output.ends_with(b"abcde\nend\n"));
        assert_eq!(output.len(), 288_894 + payload.len() + 4);
        clean(&node, cluster, &[&unit])
    }

    /// Results are there while the pod runs, line by line.
    fn results_follow_the_log(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo one; sleep 1; echo two; read line; echo $line", b"three\n")?;
        let mut results = node.open_results(&unit, 0)?;
        assert_eq!(results.line()?, "one");
        assert!(!node.status(&unit)?.state.ended());
        assert_eq!(results.line()?, "two");
        assert_eq!(results.line()?, "three");
        assert_eq!(results.line_or_end()?, None);
        clean(&node, cluster, &[&unit])
    }

    /// Command and parameters of the type and of the client, in place of a pod definition.
    fn a_pod_made_of_parameters(cluster) -> Result<()> {
        let node = node(cluster)?;
        let parameters = [("kube_image", "busybox"), ("kube_command", "sh -c 'cat; echo \"$0 $1\"'"), ("kube_params", "'a b' c")];
        let unit = node.submit_with("kubeit", &parameters, b"payload\n")?;
        assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
        assert_eq!(node.results(&unit)?, b"payload\na b c\n");
        let extra = node.status(&unit)?.extra;
        assert_eq!(extra["Image"], "busybox");
        assert!(extra["PodName"].as_str().is_some_and(|name| name.starts_with("kubeit-")), "{extra}");
        clean(&node, cluster, &[&unit])
    }

    /// Weakness 20: Go receptor keeps them in clear text in the status file.
    fn secrets_are_shown_nowhere(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo visible # swordfish", b"")?;
        node.wait_ended(&unit)?;
        let status = node.status(&unit)?;
        assert_eq!((&status.extra["KubePod"], &status.extra["KubeConfig"]), (&json!(""), &json!("")));
        let file = std::fs::read_to_string(node.unit_directory(&unit).join("status"))?;
        assert!(!file.contains("swordfish"), "{file}");
        assert!(!node.log().contains("swordfish"));
        for entry in std::fs::read_dir(node.unit_directory(&unit))? {
            let entry = entry?;
            let holds = std::fs::read(entry.path())?.windows(9).any(|bytes| bytes == b"swordfish");
            let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata()?.permissions()) & 0o777;
            assert!(!holds || mode == 0o600, "{}", entry.path().display());
        }
        clean(&node, cluster, &[&unit])
    }
}
