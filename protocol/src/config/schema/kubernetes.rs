//! Work that runs in a Kubernetes cluster (control-protocol 5.1, work-types 2).

use super::{Action, Kind, Param, duration, file, flag, int, list, map, quantity, text, word};

/// Authentication methods and the further spellings that are accepted (work-types 2.3). Checked with a text of its own.
pub(in crate::config) const AUTH_METHODS: &[&str] = &[
    "kubeconfig",
    "incluster",
    "runtime",
    "token",
    "certificate",
    "basic",
    "auto",
    "in_cluster",
    "certificate_file",
    "basic_auth",
];

/// Stream methods. Checked with a text of its own.
pub(in crate::config) const STREAM_METHODS: &[&str] = &["logger", "tcp", "attach", "shim"];

const fn base64(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Text, help)
}

const fn secret(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Secret, help)
}

const fn yes(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Bool, help).default("true")
}

pub(in crate::config) static WORK_KUBERNETES: Action = Action::new(
    "work-kubernetes",
    "Accept work that runs in a Kubernetes cluster",
    &[
        // Core.
        text("worktype", "name of the work type").required(),
        text("namespace", "namespace of the pods"),
        text("image", "image of the worker container"),
        text("command", "its command, split like a shell does"),
        text("params", "its arguments, split like a shell does"),
        file("pod", "file of a pod definition"),
        file("kubeconfig", "file of a kubeconfig"),
        duration("podpendingtimeout", "time until a pod must be ready; for ever if not given"),
        word("authmethod", AUTH_METHODS, "how the cluster is found").default("incluster"),
        word("streammethod", STREAM_METHODS, "how stdin and stdout travel").default("logger"),
        text("tcpaddress", "streammethod tcp: address of this host that pods dial"),
        flag("tcptoken", "streammethod tcp: a pod must first send the line in WORKNODE_TOKEN"),
        yes("deletepodonrestart", "delete the pod of a unit that cannot go on after a restart"),
        flag("verifysignature", "submissions must be signed"),
        flag("allowruntimeauth", "clients may give a namespace and a kubeconfig"),
        flag("allowruntimecommand", "clients may give image and command"),
        flag("allowruntimeparams", "clients may give arguments and pod_pending_timeout"),
        flag("allowruntimepod", "clients may give a pod definition"),
        text("shell", "words put before a script; /bin/sh -c if not given"),
        text("script", "script to run"),
        text("workingdir", "directory to run in"),
        map("env", "variables of the worker container"),
        list("envfrom", "sources of variables, each secret:NAME or configmap:NAME"),
        list("imageallow", "globs, one of which every image must match"),
        list("podforbid", "what a client's pod definition may not hold"),
        // Authentication.
        text("kubecontext", "context of the kubeconfig"),
        text("apiserver", "URL of the API server"),
        secret("token", "bearer token"),
        file("tokenfile", "file of a bearer token"),
        duration("tokenrefresh", "how often the own token is renewed; 0 is never"),
        file("clientcertificate", "PEM file of the client certificate"),
        base64("clientcertificatedata", "the same in base64"),
        file("clientkey", "PEM file of the client's key"),
        secret("clientkeydata", "the same in base64"),
        text("username", "user name"),
        secret("password", "password"),
        file("certificateauthority", "PEM file of the authorities of the server's certificate"),
        base64("certificateauthoritydata", "the same in base64"),
        flag("insecureskiptlsverify", "accept any server certificate"),
        text("tlsservername", "name expected in the server's certificate"),
        text("proxyurl", "proxy to reach the server through"),
        flag("allowkubeconfigexec", "a client's kubeconfig may run credential plugins on this host"),
        duration("apiretrytimeout", "how long an unreachable API server is borne").default("30m"),
        // Pod shape.
        quantity("cpulimit", "processor limit; also as Nshares"),
        quantity("memorylimit", "memory limit"),
        quantity("cpurequest", "processor request"),
        quantity("memoryrequest", "memory request"),
        int("requestpercent", "share of a limit that is requested; 50 if not given"),
        Param::new("extraresources", Kind::QuantityMap, "further resources"),
        quantity("maxcpulimit", "greatest processor limit a client may ask for"),
        quantity("maxmemorylimit", "greatest memory limit a client may ask for"),
        int("activedeadlineseconds", "deadline in seconds"),
        Param::new("volumeclaims", Kind::Volumes, "claims to mount, each CLAIM:/PATH[:ro]"),
        Param::new("createclaims", Kind::Volumes, "claims to create, each NAME:/PATH[:SIZE[:MODE[:CLASS]]]"),
        word("claimpolicy", &["release", "keep"], "what becomes of created claims").default("release"),
        Param::new("mounts", Kind::Volumes, "secret:NAME:/PATH, configmap:NAME:/PATH or empty:SIZE:/PATH"),
        flag("privileged", "privileged worker container"),
        Param::new("runasuser", Kind::UserId, "user ID, or root"),
        Param::new("runasgroup", Kind::UserId, "group ID, or root"),
        Param::new("fsgroup", Kind::UserId, "group that owns mounted volumes"),
        text("serviceaccount", "service account"),
        Param::new("automounttoken", Kind::Bool, "mount the service account's token"),
        Param::new("affinity", Kind::Structure, "affinity"),
        Param::new("tolerations", Kind::Structure, "tolerations"),
        map("nodeselector", "labels a cluster node must have"),
        text("priorityclass", "priority class"),
        map("labels", "labels of the object"),
        map("annotations", "annotations of the object"),
        word("imagepullpolicy", &["Always", "IfNotPresent", "Never"], "when the image is pulled"),
        list("imagepullsecrets", "secrets with registry credentials"),
        Param::new("livenessprobe", Kind::Probe, "exec:CMD, http:PORT/PATH, tcp:PORT or a definition"),
        Param::new("readinessprobe", Kind::Probe, "as livenessprobe"),
        Param::new("startupprobe", Kind::Probe, "as livenessprobe"),
        word("kind", &["pod", "job"], "kind of the object").default("pod"),
        file("job", "file of a Job definition"),
        int("backofflimit", "attempts of a Job after the first").default("0"),
        int("ttlsecondsafterfinished", "seconds after which a finished Job is removed"),
        word("restartpolicy", &["Never", "OnFailure"], "restart policy of a Job's pods").default("Never"),
        yes("failonexitcode", "an exit code other than 0 fails the unit"),
        word("stderr", &["merged", "separate", "auto"], "where standard error goes").default("merged"),
        word("outputguard", &["warn", "fail"], "what a gap in the output does").default("warn"),
        int("stdinretry", "new pods after a stdin cut before anything was read").default("0"),
        duration("graceperiod", "grace at deletion; the cluster's if not given"),
        word("deletepodpolicy", &["release", "always", "onsuccess", "never"], "when the pod is deleted")
            .default("release"),
        flag("pruneonstart", "delete this node's objects that have no unit"),
        int("maxconcurrent", "units running at once; 0 is no limit").default("0"),
        word("metricsprovider", &["none", "metrics-server", "prometheus"], "where samples come from").default("none"),
        duration("metricsinterval", "time between samples").default("15s"),
        text("prometheusurl", "URL of the Prometheus server"),
        flag("allowexec", "clients may run commands in the pod and copy files"),
        // Names and labels.
        yes("labelunits", "label every object with node, unit and work type"),
        word("ifexists", &["attach", "replace", "fail"], "what is done about an object of the wanted name"),
        // Image build.
        word("buildmethod", &["none", "buildah", "podman", "docker", "command"], "program that builds images")
            .default("none"),
        text("buildcommand", "command line for buildmethod command"),
        file("dockerfile", "file with the build's instructions"),
        text("buildbase", "image that a build script starts from"),
        text("buildscript", "script that a built image runs"),
        word("buildcontext", &["none", "payload"], "where files for the build come from").default("none"),
        map("buildargs", "arguments of the build"),
        text("buildtag", "name of the built image"),
        yes("buildcache", "use layers of earlier builds"),
        duration("buildtimeout", "longest build").default("30m"),
        flag("buildonly", "the unit ends after the build"),
        word("imagetarget", &["none", "registry", "containerd", "kind", "minikube", "command"], "where images are put")
            .default("none"),
        text("registry", "registry to push to"),
        file("registryauthfile", "file of the registry's credentials"),
        text("clustername", "name of the local cluster"),
        text("loadcommand", "command line for imagetarget command"),
        // Permissions beyond receptor's.
        flag("allowruntimejob", "clients may give a Job definition and its settings"),
        flag("allowruntimeenv", "clients may give variables"),
        flag("allowruntimeresources", "clients may give limits and requests"),
        flag("allowruntimevolumes", "clients may give claims and mounts"),
        flag("allowruntimesecurity", "clients may give users and privileges"),
        flag("allowruntimescheduling", "clients may give affinity, tolerations and selectors"),
        flag("allowruntimelabels", "clients may give labels and annotations"),
        flag("allowruntimename", "clients may give the object's name"),
        flag("allowruntimebuild", "clients may have an image built"),
    ],
);
