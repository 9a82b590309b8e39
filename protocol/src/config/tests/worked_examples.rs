//! The worked examples of work-types 8: each is read and checked whole; what is refused is refused for being not built.

use super::*;

/// Local.
const LOCAL: &str = "\
- node: {id: local1, datadir: /var/lib/worknode}
- local-only:
- log-level: info
- control-service: {service: control, filename: /run/worknode/worknode.sock, permissions: '0660'}
- work-command: {worktype: cat, command: cat}
- work-command: {worktype: sh, command: sh, allowruntimeparams: true, env: {LANG: C.UTF-8}, allowruntimeenv: true, timeout: 1h, maxconcurrent: 8, stderr: separate}
";

/// Kubernetes with a kubeconfig.
const KUBERNETES: &str = "\
- node: {id: foo}
- log-level: {level: Debug}
- tcp-listener: {port: 2222}
- control-service: {service: control, filename: /tmp/foo.sock}
- work-kubernetes: {worktype: kubeit, authmethod: kubeconfig, allowruntimeauth: true, allowruntimepod: true, allowruntimeparams: true}
";

/// In the cluster.
const IN_CLUSTER: &str = "\
- node: {id: incluster1}
- local-only:
- control-service: {service: control, filename: /run/worknode/worknode.sock}
- work-kubernetes:
    {worktype: task, authmethod: incluster, namespace: work, image: 'registry.example.org/tools/task:1', command: /usr/bin/task,
     allowruntimeparams: true, allowruntimeresources: true, maxcpulimit: 4, cpulimit: 500m, memorylimit: 512Mi, podpendingtimeout: 10m,
     nodeselector: {pool: batch}, imagepullsecrets: [registry], deletepodpolicy: onsuccess, metricsprovider: metrics-server}
";

/// AWX executor.
const AWX: &str = "\
- node: {id: awx-1, firewallrules: [{action: reject, tonode: awx-1, toservice: control}]}
- local-only:
- log-level: info
- control-service: {service: control, filename: /var/run/receptor/receptor.sock, permissions: '0660'}
- work-command: {worktype: local, command: ansible-runner, params: worker, allowruntimeparams: true}
- work-kubernetes: {worktype: kubernetes-runtime-auth, authmethod: runtime, allowruntimeauth: true, allowruntimepod: true, allowruntimeparams: true}
- work-kubernetes: {worktype: kubernetes-incluster-auth, authmethod: incluster, allowruntimeauth: true, allowruntimepod: true, allowruntimeparams: true}
";

/// Job with volumes.
const JOB: &str = "\
- node: {id: batch1}
- local-only:
- control-service: {filename: /run/worknode/worknode.sock}
- work-kubernetes:
    {worktype: analysis, authmethod: kubeconfig, kind: job, image: gitlab-registry.example.org/user/analysis, imagepullpolicy: Always,
     imagepullsecrets: [sh-k8s-registry-secret], shell: bash -cl, volumeclaims: ['ntuples-claim:/ntuples:ro'], createclaims: ['scratch:/scratch:5Gi'],
     cpurequest: 1, memoryrequest: 4000M, backofflimit: 3, restartpolicy: OnFailure, activedeadlineseconds: 86400, labels: {app: submission-helper},
     maxconcurrent: 20, allowruntimecommand: true}
";

/// Nomad.
const NOMAD: &str = "\
- node: {id: nomad1}
- local-only:
- control-service: {filename: /run/worknode/worknode.sock}
- work-nomad:
    {worktype: batch, address: 'https://nomad.example.org:4646', tokenfile: /etc/worknode/nomad.token, certificateauthority: /etc/worknode/nomad-ca.pem,
     datacenters: [dc1], driver: docker, image: 'busybox:1.36', command: cat, cpu: 200, memory: 128, allowruntimeparams: true, purgeonrelease: true}
";

/// Mesh hub.
const HUB: &str = "\
- node: {id: hub}
- log-level: info
- control-service: {service: control, filename: /run/worknode/worknode.sock, permissions: '0660'}
- tls-server: {name: mesh, cert: /etc/worknode/hub.crt, key: /etc/worknode/hub.key, clientcas: /etc/worknode/ca.crt, requireclientcert: true, mintls13: true}
- tls-client: {name: tlsc, cert: /etc/worknode/hub.crt, key: /etc/worknode/hub.key, rootcas: /etc/worknode/ca.crt}
- tcp-listener: {port: 27199, tls: mesh, allowedpeers: [leaf1, leaf2]}
- work-signing: {privatekey: /etc/worknode/sign.pem, tokenexpiration: 5m}
";

/// Mesh leaf with TLS.
const LEAF: &str = "\
- node: {id: leaf1}
- log-level: info
- tls-client: {name: hubclient, cert: /etc/worknode/leaf1.crt, key: /etc/worknode/leaf1.key, rootcas: /etc/worknode/ca.crt, mintls13: true}
- tls-server: {name: ctl, cert: /etc/worknode/leaf1.crt, key: /etc/worknode/leaf1.key, clientcas: /etc/worknode/ca.crt, requireclientcert: true}
- tcp-peer: {address: 'hub.example.org:27199', tls: hubclient, redial: true}
- control-service: {service: control, filename: /run/worknode/worknode.sock, tls: ctl}
- work-verification: {publickey: /etc/worknode/sign.pub.pem}
- work-command: {worktype: ansible-runner, command: ansible-runner, params: worker, allowruntimeparams: true, verifysignature: true}
- work-kubernetes: {worktype: kubeit, authmethod: runtime, allowruntimeauth: true, allowruntimepod: true, verifysignature: true}
";

/// What the check mode says is wrong, each time without its place.
fn errors(text: &str) -> Vec<String> {
    let mut host = host(text);
    for name in [
        "hub.crt",
        "hub.key",
        "ca.crt",
        "leaf1.crt",
        "leaf1.key",
        "sign.pem",
        "sign.pub.pem",
        "nomad.token",
        "nomad-ca.pem",
    ] {
        host.files.insert(format!("/etc/worknode/{name}"), String::new());
    }
    let report = outcome(&["--check-config", "-c", FILE], &host);
    report.lines().filter_map(|line| line.split_once(": error: ")).map(|(_, text)| text.to_owned()).collect()
}

#[test]
fn what_this_version_does_can_be_run() {
    for example in [LOCAL, AWX, KUBERNETES, HUB, LEAF] {
        assert_eq!(errors(example), Vec::<String>::new(), "{example}");
    }
}

#[test]
fn the_rest_is_refused_by_name_alone() {
    for example in [IN_CLUSTER, JOB, NOMAD] {
        let errors = errors(example);
        assert!(!errors.is_empty());
        for error in errors {
            assert!(error.ends_with(" is not available in this version of worknode"), "{error}\n{example}");
        }
    }
}
