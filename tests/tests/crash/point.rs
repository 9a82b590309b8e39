//! One moment: a client works with a unit, the daemon is killed, started again, and what is left is checked.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use worknode_tests::Node;
use worknode_tests::wait::PATIENCE;
use worknode_tests::work::{created, submit_line};

use crate::check;
use crate::plan::{Phase, Plan};

/// Which kind of work is killed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A `work-command` type `sh`.
    Command,
    /// A `work-kubernetes` type `kubeit` on podsim, whose containers are processes of this machine.
    Pod,
    /// The same on a real cluster, whose containers cannot be looked at from here.
    RealPod,
}

impl Work {
    pub(crate) fn worktype(self) -> &'static str {
        match self {
            Self::Command => "sh",
            Self::Pod | Self::RealPod => "kubeit",
        }
    }

    pub(crate) fn is_pod(self) -> bool {
        self != Self::Command
    }

    /// The words of a unit whose job has ended with this code.
    pub(crate) fn detail(self, exit: i32) -> String {
        match (self, exit) {
            (Self::Pod | Self::RealPod, 0) => "Finished".to_owned(),
            (_, code) => format!("exit status {code}"),
        }
    }

    fn parameters(self, script: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::Command => vec![("params", format!("-c '{script}'"))],
            Self::Pod | Self::RealPod => vec![
                ("kube_image", "busybox".to_owned()),
                ("kube_command", "sh -c".to_owned()),
                ("kube_params", format!("'{script}'")),
            ],
        }
    }
}

/// What the client was told before the daemon was killed.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The unit's ID, from "Work unit created".
    pub(crate) created: Option<String>,
    /// "Job Started" has come.
    pub(crate) started: bool,
    /// The results have ended, with these bytes.
    pub(crate) ended: Option<Vec<u8>>,
    /// A cancel was sent; whether it was answered.
    pub(crate) canceled: Option<bool>,
    /// A release was sent; whether it was answered.
    pub(crate) released: Option<bool>,
}

pub(crate) fn run(node: &mut Node, work: Work, plan: &Plan) -> Result<()> {
    let starts = node.root().join(format!("starts-{}", plan.seed));
    let told = killed_meanwhile(node, work, plan, &starts)?;
    if let Some(again) = plan.again {
        node.spawn()?;
        pause(again);
        node.kill9()?;
    }
    node.start()?;
    check::all(node, work, plan, &told, &starts).with_context(|| format!("{told:?}"))
}

/// Lets a client work until the plan's moment, and kills the daemon.
fn killed_meanwhile(node: &mut Node, work: Work, plan: &Plan, starts: &Path) -> Result<Told> {
    let (reached, phases) = channel();
    let told = std::thread::scope(|scope| {
        let here: &Node = node;
        let client = scope.spawn(move || {
            let mut told = Told::default();
            // The kill breaks whatever the client is doing: how far it came is what counts.
            let _broken = work_with_unit(here, work, plan, starts, &mut told, &reached);
            told
        });
        wait_for(&phases, plan.phase);
        pause(plan.delay);
        rustix::process::kill_process(here.pid()?, rustix::process::Signal::KILL)?;
        client.join().map_err(|_| anyhow::anyhow!("the client panicked"))
    })?;
    node.wait_for_end(PATIENCE)?;
    Ok(told)
}

/// Waits for the phase, or for the client to end before it.
fn wait_for(phases: &Receiver<Phase>, wanted: Phase) {
    while let Ok(phase) = phases.recv_timeout(PATIENCE) {
        if phase == wanted {
            return;
        }
    }
}

/// The client's whole way with a unit.
fn work_with_unit(
    node: &Node,
    work: Work,
    plan: &Plan,
    starts: &Path,
    told: &mut Told,
    reached: &Sender<Phase>,
) -> Result<()> {
    let parameters = work.parameters(&script(work, plan, starts));
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut session = node.connect()?;
    reached.send(Phase::Asking)?;
    let unit = created(&session.ask(&submit_line(work.worktype(), &parameters))?)?;
    told.created = Some(unit.clone());
    reached.send(Phase::Created)?;
    let payload = payload(plan);
    let (first, second) = payload.split_at(payload.len() / 2);
    session.send(first)?;
    reached.send(Phase::Sending)?;
    session.send(second)?;
    session.half_close()?;
    reached.send(Phase::Sent)?;
    let reply = session.line()?;
    ensure!(reply.contains("Job Started"), "{reply}");
    told.started = true;
    reached.send(Phase::Started)?;
    let mut results = node.open_results(&unit, 0)?;
    let mut output = results.bytes(1)?;
    reached.send(Phase::Running)?;
    match plan.phase {
        Phase::Canceling => {
            told.canceled = Some(false);
            reached.send(Phase::Canceling)?;
            node.cancel(&unit)?;
            told.canceled = Some(true);
        }
        Phase::Releasing => {
            told.released = Some(false);
            reached.send(Phase::Releasing)?;
            node.release(&unit)?;
            told.released = Some(true);
        }
        _ => {
            output.extend(results.rest()?);
            // A stream that broke off looks like one that ended: only a daemon that still answers has ended it.
            if node.status(&unit)?.state.ended() {
                told.ended = Some(output);
                reached.send(Phase::Ended)?;
            }
        }
    }
    Ok(())
}

/// Writes a line to `starts` where that can be seen from here (so that a second start would show), copies its payload,
/// writes lines, and ends, or waits to be canceled.
fn script(work: Work, plan: &Plan, starts: &Path) -> String {
    let Plan { lines, pause, exit, .. } = plan;
    let (first, last) = match work {
        // The runtime may lose what a container writes just before its end (kubernetes-streams 4.7).
        Work::RealPod => (String::new(), format!("sleep 1; exit {exit}")),
        Work::Command | Work::Pod => (format!("echo started >> {}; ", starts.display()), format!("exit {exit}")),
    };
    let last = if plan.endless() { "exec sleep 1000".to_owned() } else { last };
    format!(
        "{first}cat; i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); \
         [ {pause} = 0 ] || sleep 0.00{pause}; done; {last}"
    )
}

pub(crate) fn payload(plan: &Plan) -> Vec<u8> {
    format!("payload of {:09}\n", plan.seed).bytes().cycle().take(plan.payload).collect()
}

/// All that a job of this plan writes.
pub(crate) fn output(plan: &Plan) -> Vec<u8> {
    let mut output = payload(plan);
    for line in 0..plan.lines {
        output.extend_from_slice(format!("line {line}\n").as_bytes());
    }
    output
}

#[allow(clippy::disallowed_methods, reason = "the crash is to come at a random moment")]
fn pause(length: Duration) {
    std::thread::sleep(length);
}
