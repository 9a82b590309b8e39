//! The node itself: identity, log, control services, TLS.

use super::{Action, Kind, Param, duration, file, flag, int, list, text};

pub(in crate::config) static NODE: Action = Action::new(
    "node",
    "Identity and data directory of this node",
    &[
        text("id", "node ID; the host name if not given").bare("ID"),
        file("datadir", "directory for the data of work units").default("/tmp/receptor"),
        Param::new(
            "firewallrules",
            Kind::Rules,
            "rules for datagrams: action, fromnode, tonode, fromservice, toservice",
        ),
        duration("maxidleconnectiontimeout", "silence after which a mesh connection is lost; 21s and more"),
        text("receptorkubesupportreconnect", "take up broken log streams: enabled, disabled, auto (version 2 files)"),
        text("receptorkubeclientsetqps", "Kubernetes requests per second (version 2 files)"),
        text("receptorkubeclientsetburst", "Kubernetes requests at once (version 2 files)"),
        text("receptorkubeclientsetratelimiter", "tokenbucket, always or never (version 2 files)"),
    ],
)
.once();

pub(in crate::config) static LOCAL_ONLY: Action = Action::new(
    "local-only",
    "Run without listeners and peers",
    &[Param::new("local", Kind::Bool, "no meaning; version 2 files need some parameter here")],
)
.once();

pub(in crate::config) static LOG_LEVEL: Action = Action::new(
    "log-level",
    "How much is logged; info if this action is not given",
    &[text("level", "error, warning, info or debug").bare("Level").default("error")],
)
.once();

pub(in crate::config) static TRACE: Action = Action::new("trace", "Accepted, no effect", &[]).once();

pub(in crate::config) static VERSION: Action = Action::new("version", "Print the version and exit", &[]).alone();

pub(in crate::config) static CONTROL_SERVICE: Action = Action::new(
    "control-service",
    "Listen for clients",
    &[
        text("service", "name of the service on the mesh; '' for none").default("control"),
        file("filename", "path of a Unix socket"),
        int("permissions", "mode of the Unix socket").default("0600"),
        text("tls", "tls-server for the mesh listener"),
        text("tcplisten", "HOST:PORT or PORT of a TCP listener"),
        text("tcptls", "tls-server for the TCP listener"),
        Param::new("allow", Kind::Structure, "rules: who may do what; everybody may do everything if not given"),
    ],
);

pub(in crate::config) static DAEMON: Action = Action::new(
    "daemon",
    "Bounds on what clients may use; WORKNODE_CONTROL_LINE_LIMIT and WORKNODE_MAX_CONNECTIONS win over it",
    &[
        int("controllinelimit", "longest command line in bytes; 16 MiB if not given"),
        int("maxconnections", "connections of clients open at once; 10000 if not given"),
    ],
)
.once();

pub(in crate::config) static TLS_SERVER: Action = Action::new(
    "tls-server",
    "Named TLS settings for listeners",
    &[
        text("name", "name of these settings").required(),
        file("cert", "PEM file of the certificate").required(),
        file("key", "PEM file of the private key").required(),
        flag("requireclientcert", "refuse clients without a certificate"),
        file("clientcas", "PEM file of the authorities of client certificates"),
        list("pinnedclientcert", "fingerprints, one of which a client certificate must have"),
        flag("skipreceptornamescheck", "the certificate need not carry the node ID"),
        flag("mintls13", "TLS 1.3 and nothing older"),
    ],
);

pub(in crate::config) static TLS_CLIENT: Action = Action::new(
    "tls-client",
    "Named TLS settings for connections this node opens",
    &[
        text("name", "name of these settings").required(),
        file("cert", "PEM file of the certificate; may be ''").required(),
        file("key", "PEM file of the private key; may be ''").required(),
        file("rootcas", "PEM file of the authorities of server certificates"),
        flag("insecureskipverify", "accept any server certificate"),
        list("pinnedservercert", "fingerprints, one of which the server certificate must have"),
        flag("skipreceptornamescheck", "the certificate need not carry the node ID"),
        flag("mintls13", "TLS 1.3 and nothing older"),
    ],
);
