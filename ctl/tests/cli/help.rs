//! The help of every verb, as a snapshot: what people and scripts read.

use crate::fake_node::Ctl;

macro_rules! help {
    ($($name:ident: $($word:literal)*;)*) => {$(
        #[test]
        fn $name() {
            let outcome = Ctl::new(&[$($word,)* "--help"]).run();
            assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
            insta::assert_snapshot!(outcome.stdout);
        }
    )*};
}

help! {
    ctl: ;
    status: "status";
    ping: "ping";
    connect: "connect";
    reload: "reload";
    node: "node";
    node_list: "node" "list";
    work: "work";
    work_list: "work" "list";
    work_submit: "work" "submit";
    work_logs: "work" "logs";
    work_wait: "work" "wait";
    work_cancel: "work" "cancel";
    work_release: "work" "release";
    work_describe: "work" "describe";
    work_prune: "work" "prune";
}
