//! `worknoded`: reads its configuration, becomes a node, serves until told to go.
//!
//! Exit codes: 0 done; 1 the configuration cannot be used, or the node could not start or did not come down in time.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use worknode_daemon::{
    VERSION, certs,
    control::reload::Reload,
    host::ThisHost,
    logging,
    node::{self, Node, StartError},
    runner::command::keeper,
    shutdown,
};
use worknode_protocol::config::{self, Start, Startup};

fn main() -> ExitCode {
    // A job's keeper is this same program; it must be told apart before anything has started.
    if let Some(end) = keeper::main_if_requested(std::env::args_os()) {
        return end;
    }
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match config::load(&arguments, &ThisHost) {
        Ok(Startup::Help(text)) => print(&text, 0),
        Ok(Startup::Version) => print(&format!("{VERSION}\n"), 0),
        Ok(Startup::Certificates(command)) => {
            match certs::run(&command, &mut io::stdin().lock(), &mut io::stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(fault) => print(&format!("Error: {fault}\n"), 1),
            }
        }
        Ok(Startup::CheckConfig(report)) => {
            let report = node::check(report);
            print(&report.text, report.exit_code())
        }
        Ok(Startup::Run(start)) => run(*start, arguments),
        Err(fault) => print(&format!("{fault}\n"), 1),
    }
}

/// Everything goes to standard output, errors too: that is where the reference's users look for them.
fn print(text: &str, code: u8) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn run(start: Start, arguments: Vec<String>) -> ExitCode {
    let Start { config, reload, lines, notices } = start;
    for line in lines {
        print(&format!("{line}\n"), 0);
    }
    logging::start(config.log_level);
    for notice in notices {
        tracing::warn!("{notice}");
    }
    let open_files = raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => return print(&format!("Error: {fault}\n"), 1),
    };
    runtime.block_on(async {
        let serve = async {
            let requests = shutdown::Requests::listen()?;
            let node = Node::build(config, Reload::new(arguments, reload), open_files).await?;
            Ok::<_, StartError>(node.serve(requests).await)
        };
        match serve.await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(StartError::NothingToDo) => {
                tracing::warn!("{}", StartError::NothingToDo);
                print("\nRun worknoded --help for command line instructions.\n", 1)
            }
            Err(fault) => print(&format!("Error: {fault}\n"), 1),
        }
    })
}

/// Ten thousand connections need more descriptors than the usual soft limit. Answers the former one, which jobs get: they
/// may need `select`. None is no limit.
fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    limit.current
}
