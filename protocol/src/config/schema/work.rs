//! Keys for signatures, and work that runs on this host.

use super::{Action, Kind, Param, duration, file, flag, int, map, quantity, text, word};

/// What signatures are good for; the order of `TokenBinding`.
const TOKEN_BINDINGS: &[&str] = &["none", "request"];

pub(in crate::config) static WORK_SIGNING: Action = Action::new(
    "work-signing",
    "Key with which this node signs work it submits",
    &[
        file("privatekey", "PEM file of an RSA private key").bare("PrivateKey"),
        duration("tokenexpiration", "how long a signature is valid; 5m if not given"),
        word("tokenbinding", TOKEN_BINDINGS, "whether a signature is good for one request alone").default("none"),
    ],
)
.once();

pub(in crate::config) static WORK_VERIFICATION: Action = Action::new(
    "work-verification",
    "Key with which signatures of submitted work are verified",
    &[
        file("publickey", "PEM file of an RSA public key").bare("PublicKey"),
        word("tokenbinding", TOKEN_BINDINGS, "whether signatures must be good for one request alone").default("none"),
    ],
)
.once();

pub(in crate::config) static WORK_COMMAND: Action = Action::new(
    "work-command",
    "Accept work that runs a command on this host",
    &[
        text("worktype", "name of the work type").required(),
        text("command", "program to run").required(),
        text("params", "its words, split like a shell does"),
        flag("verifysignature", "submissions must be signed"),
        flag("allowruntimeparams", "clients may append to params"),
        map("env", "variables for the command"),
        flag("cleanenv", "start from PATH, HOME, USER and LANG alone"),
        text("workingdir", "directory to run in; may contain {unitdir}"),
        text("user", "NAME or UID[:GID] to run as"),
        duration("timeout", "longest run time"),
        duration("graceperiod", "time between the interrupt of a cancel and the kill").default("10s"),
        Param::new("killtree", Kind::Bool, "a cancel ends the command's whole process group").default("true"),
        word("stderr", &["merged", "separate"], "where standard error goes").default("merged"),
        int("maxconcurrent", "units running at once; 0 is no limit").default("0"),
        int("nice", "scheduling priority, -20 to 19"),
        quantity("memorymax", "most memory"),
        quantity("cpumax", "most processor time"),
        flag("allowruntimeenv", "clients may give variables"),
        flag("allowruntimeworkingdir", "clients may name the directory to run in"),
        flag("allowruntimeuser", "clients may name the user to run as"),
    ],
);

pub(in crate::config) static WORK_PYTHON: Action = Action::new(
    "work-python",
    "Refused, as it is by receptor",
    &[
        text("worktype", "name of the work type").required(),
        text("plugin", "module of the plugin").required(),
        text("function", "function to call").required(),
        Param::new("config", Kind::Ignored, "configuration of the plugin"),
    ],
);

pub(in crate::config) static COMMAND_RUNNER: Action = Action::new(
    "command-runner",
    "receptor's own runner process",
    &[
        text("command", "program to run").required(),
        text("params", "its words").required(),
        file("unitdir", "directory of the unit").required(),
    ],
);
