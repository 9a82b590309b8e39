use thiserror::Error;

use super::{errno_text, signal_name};
use crate::quote::quote;
use crate::shell::SplitError;

/// The words beside a unit's state: the only home of every Detail text that this program writes.
///
/// Sources: control-protocol 3.7, 4.2 to 4.6 (commands, remote units), 5.5, 5.8, 5.9 (Kubernetes), work-types 6 (what a
/// container's end means). Other programs search these texts, so they are to the letter. Where a variant is about a pod,
/// `pod` is namespace and name: `ns1/kubeit-abc24`.
///
/// It is an `Error` because half of it says why a unit failed; `Display` is the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant and field is explained by its text")]
pub enum Detail {
    // Any unit.
    #[error("Unit Created")]
    UnitCreated,
    #[error("Waiting for Input Data")]
    WaitingForInputData,
    #[error("Starting Worker")]
    StartingWorker,
    /// A limit of the work type is reached; the unit waits for its turn.
    #[error("Queued")]
    Queued,
    #[error("Canceled")]
    Canceled,
    /// The payload broke off, or could not be stored.
    #[error("Error reading input data: {0}")]
    ErrorReadingInputData(String),
    /// With the text that was answered after `ERROR: `.
    #[error("Error starting worker: {0}")]
    ErrorStartingWorker(String),
    #[error("Failed to restart: {0}")]
    FailedToRestart(RestartProblem),
    /// The unit's own task ended without an outcome; a text of ours.
    #[error("Internal error: {0}")]
    Internal(String),
    /// Written into the unit's files by another process, and passed on as it is.
    #[error("{0}")]
    Verbatim(String),

    // Commands.
    #[error("Launching command runner")]
    LaunchingCommandRunner,
    #[error("Not started yet")]
    NotStartedYet,
    /// The job's own process, not its keeper.
    #[error("Running: PID {0}")]
    RunningPid(u32),
    #[error("exit status {0}")]
    ExitStatus(i32),
    /// With the termination message of a container.
    #[error("exit status {0}: {1}")]
    ExitStatusMessage(i32, String),
    #[error("signal: {}{}", signal_name(*.number), if *.core_dumped { " (core dumped)" } else { "" })]
    Signal { number: i32, core_dumped: bool },
    /// `errno` is the system's error number.
    #[error("fork/exec {program}: {}", errno_text(*.errno))]
    CannotExecute { program: String, errno: i32 },
    #[error("exec: {}: executable file not found in $PATH", quote(.0))]
    NotOnPath(String),
    /// Found only by an entry of `PATH` that means the working directory; Go refuses to run it.
    #[error("exec: {}: cannot run executable found relative to current directory", quote(.0))]
    InWorkingDir(String),
    /// The working directory of a command (work-types 3). `errno` is the system's error number.
    #[error("chdir {dir}: {}", errno_text(*.errno))]
    CannotEnter { dir: String, errno: i32 },
    /// The user of a command (work-types 3), in the words `unknown user X`.
    #[error("invalid user: {0}")]
    InvalidUser(String),
    #[error(transparent)]
    Params(SplitError),
    /// The keeper of the job was told to end, and ended it.
    #[error("Killed")]
    Killed,
    #[error("Failed to start command runner: {0}")]
    FailedToStartRunner(String),
    /// Waiting for the job failed.
    #[error("Error: {0}")]
    RunnerError(String),
    #[error("Pending at restart")]
    PendingAtRestart,
    /// The keeper of the job is gone, or the machine was rebooted.
    #[error("Runner is gone")]
    RunnerGone,
    /// A duration in Go's spelling: `1h0m0s`.
    #[error("Timed out after {0}")]
    TimedOutAfter(String),

    // Remote units.
    #[error("TLS error connecting to remote service: {0}")]
    RemoteTlsError(String),
    /// A local time such as `Sat Nov 21 01:31:17`.
    #[error("Work unit expired on {0}")]
    Expired(String),
    #[error("Remote work unit is gone")]
    RemoteUnitGone,
    #[error("Locally Cancelled")]
    LocallyCancelled,
    /// The other node makes no sense, or does not give the output; a text of ours.
    #[error("The end of the remote work unit is unknown: {0}")]
    RemoteEndUnknown(String),

    // Kubernetes.
    #[error("Connecting to Kubernetes")]
    ConnectingToKubernetes,
    #[error("Pod created")]
    PodCreated,
    #[error("Pod created: Unschedulable: {0}")]
    PodUnschedulable(String),
    /// Why the pod has not started, in the cluster's words: of a container's status, a condition or an event.
    #[error("Pending: {reason}{}{message}", if .message.is_empty() { "" } else { ": " })]
    PodPending { reason: String, message: String },
    #[error("Sending stdin to pod")]
    SendingStdinToPod,
    #[error("Pod Running")]
    PodRunning,
    #[error("Finished")]
    Finished,
    #[error("Error creating pod: {0}")]
    ErrorCreatingPod(PodProblem),
    #[error("Error getting pod {pod}. Error: {message}")]
    ErrorGettingPod { pod: String, message: String },
    #[error("Error opening log stream for pod {pod}. Error: {message}")]
    ErrorOpeningLogStream { pod: String, message: String },
    #[error("Error streaming stdin to pod {pod}. Error: {message}")]
    ErrorStreamingStdin { pod: String, message: String },
    /// The API's words, and the rule that the account's role lacks.
    #[error(
        "Error streaming stdin to pod {pod}. Error: {message}; add to the role in the namespace \"{namespace}\" the rule \
         {{apiGroups: [\"\"], resources: [\"pods/attach\"], verbs: [\"get\", \"create\"]}}"
    )]
    AttachForbidden { pod: String, message: String, namespace: String },
    /// Bytes known to have been sent, and bytes of the payload.
    #[error("stdin was cut at byte {sent} of {total}")]
    StdinCut { sent: u64, total: u64 },
    #[error("Error with pod's stdin: {0}")]
    PodStdin(String),
    #[error("Error with pod's stdout: {0}")]
    PodStdout(String),
    #[error("Error running pod. stdin: {stdin}, stdout: {stdout}")]
    PodStdinAndStdout { stdin: String, stdout: String },
    #[error("Error opening stdin file: {0}")]
    ErrorOpeningStdin(String),
    #[error("Error opening stdout file: {0}")]
    ErrorOpeningStdout(String),
    #[error("Error reading stdin: {0}")]
    ErrorReadingStdin(String),
    #[error("exit status {0} (OOMKilled)")]
    OomKilled(i32),
    /// `reason` is the pod's, in any case: `Evicted` reads `evicted`.
    #[error("Pod {pod} {}: {message}", .reason.to_lowercase())]
    PodEnded { pod: String, reason: String, message: String },
    #[error("Pod {pod} exceeded its deadline of {seconds}s (DeadlineExceeded)")]
    PodDeadline { pod: String, seconds: i64 },
    /// Time stamps of the lines before and after the gap.
    #[error("Output may be incomplete: log rotated between {from} and {to}")]
    OutputIncomplete { from: String, to: String },
    /// Bytes of output that are there, of more that nobody has any longer.
    #[error("output was cut at byte {0}")]
    OutputCut(u64),
    /// A unit that failed for another reason, and of which output may be missing, too.
    #[error("{end}; {warning}")]
    WithWarning { end: Box<Detail>, warning: Box<Detail> },

    // Kubernetes, stream method `tcp`.
    #[error("Error listening: {0}")]
    ErrorListening(String),
    #[error("Error accepting: {0}")]
    ErrorAccepting(String),
    #[error("Error sending stdin to pod: {0}")]
    ErrorSendingStdin(String),
    #[error("Error reading stdout from pod: {0}")]
    ErrorReadingPodStdout(String),
}

/// What stands after `Error creating pod: ` (control-protocol 5.5, work-types 6).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum PodProblem {
    /// Words of the API or of a parser, passed on verbatim: `pods is forbidden: exceeded quota: ...`.
    #[error("{0}")]
    Message(String),
    #[error("at least one container must be named worker")]
    NoWorker,
    #[error(transparent)]
    Params(SplitError),
    #[error("pod failed to start")]
    FailedToStart,
    #[error("pod failed to start, exit code {0}: {1}")]
    FailedWithExitCode(i32, String),
    #[error("pod failed to start, {0}")]
    FailedWithReason(String),
    /// `ImagePullBackOff` or another reason for which a container cannot start.
    #[error("container failed to start, {0}")]
    ContainerFailedToStart(String),
    #[error("container failed with exit code {0}: {1}")]
    ContainerFailed(i32, String),
    /// The pending timeout.
    #[error("timed out waiting for the condition")]
    TimedOut,
    #[error("did not return an event while watching pod for work unit {0}")]
    NoEvent(String),
    /// Deleted by somebody else while it was pending.
    #[error("pods {} not found", quote(.0))]
    NotFound(String),
    #[error("pod namespace is empty for pod {0}")]
    NamespaceEmpty(String),
    #[error("cancelled")]
    Cancelled,
}

/// What stands after `Failed to restart: ` (control-protocol 4.2, 5.8).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum RestartProblem {
    #[error("work unit is not in running state, cannot be restarted")]
    NotRunning,
    #[error("restart not implemented for streammethod tcp")]
    StreamMethodTcp,
    #[error("remote work had not previously started")]
    RemoteNotStarted,
    /// The text of another error, such as an unreadable status.
    #[error("{0}")]
    Message(String),
}

impl From<Detail> for String {
    fn from(detail: Detail) -> Self {
        detail.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts quoted from the reference, with the section they stand in.
    #[test]
    fn texts_are_those_of_the_reference() {
        let pod = || "ns1/strict-abc24".to_owned();
        let boom = || "attach broke".to_owned();
        for (detail, text) in [
            // 3.7
            (Detail::WaitingForInputData, "Waiting for Input Data"),
            (Detail::StartingWorker, "Starting Worker"),
            (
                Detail::ErrorReadingInputData("connection reset by peer".to_owned()),
                "Error reading input data: connection reset by peer",
            ),
            (Detail::ErrorStartingWorker("nope".to_owned()), "Error starting worker: nope"),
            // 4.2, 4.3, 4.5
            (Detail::UnitCreated, "Unit Created"),
            (Detail::PendingAtRestart, "Pending at restart"),
            (
                Detail::FailedToRestart(RestartProblem::RemoteNotStarted),
                "Failed to restart: remote work had not previously started",
            ),
            (Detail::LaunchingCommandRunner, "Launching command runner"),
            (Detail::NotStartedYet, "Not started yet"),
            (Detail::RunningPid(24043), "Running: PID 24043"),
            (Detail::ExitStatus(0), "exit status 0"),
            (Detail::ExitStatus(3), "exit status 3"),
            (Detail::Signal { number: 9, core_dumped: false }, "signal: killed"),
            (Detail::Signal { number: 15, core_dumped: false }, "signal: terminated"),
            (Detail::Signal { number: 6, core_dumped: true }, "signal: aborted (core dumped)"),
            (
                Detail::CannotExecute { program: "/no/such/binary".to_owned(), errno: 2 },
                "fork/exec /no/such/binary: no such file or directory",
            ),
            (Detail::NotOnPath("x".to_owned()), "exec: \"x\": executable file not found in $PATH"),
            (Detail::Params(SplitError::OpenQuote), "EOF found when expecting closing quote"),
            (Detail::Params(SplitError::TrailingEscape), "EOF found after escape character"),
            (Detail::Killed, "Killed"),
            (Detail::Canceled, "Canceled"),
            // 4.6
            (Detail::RemoteTlsError("x".to_owned()), "TLS error connecting to remote service: x"),
            (Detail::Expired("Sat Nov 21 01:31:17".to_owned()), "Work unit expired on Sat Nov 21 01:31:17"),
            (Detail::RemoteUnitGone, "Remote work unit is gone"),
            (Detail::LocallyCancelled, "Locally Cancelled"),
            // 5.5
            (Detail::ConnectingToKubernetes, "Connecting to Kubernetes"),
            (Detail::PodCreated, "Pod created"),
            (Detail::SendingStdinToPod, "Sending stdin to pod"),
            (Detail::PodRunning, "Pod Running"),
            (Detail::Finished, "Finished"),
            (
                Detail::ErrorStreamingStdin { pod: pod(), message: boom() },
                "Error streaming stdin to pod ns1/strict-abc24. Error: attach broke",
            ),
            (
                Detail::AttachForbidden { pod: pod(), message: boom(), namespace: "ns1".to_owned() },
                "Error streaming stdin to pod ns1/strict-abc24. Error: attach broke; add to the role in the namespace \
                 \"ns1\" the rule {apiGroups: [\"\"], resources: [\"pods/attach\"], verbs: [\"get\", \"create\"]}",
            ),
            (Detail::PodStdin(boom()), "Error with pod's stdin: attach broke"),
            (Detail::PodStdout(boom()), "Error with pod's stdout: attach broke"),
            (
                Detail::ErrorOpeningLogStream { pod: pod(), message: boom() },
                "Error opening log stream for pod ns1/strict-abc24. Error: attach broke",
            ),
            (
                Detail::ErrorGettingPod { pod: pod(), message: "Unauthorized".to_owned() },
                "Error getting pod ns1/strict-abc24. Error: Unauthorized",
            ),
            // 5.8, 5.9
            (
                Detail::FailedToRestart(RestartProblem::NotRunning),
                "Failed to restart: work unit is not in running state, cannot be restarted",
            ),
            (
                Detail::FailedToRestart(RestartProblem::StreamMethodTcp),
                "Failed to restart: restart not implemented for streammethod tcp",
            ),
            (
                Detail::ErrorListening("could not determine local address".to_owned()),
                "Error listening: could not determine local address",
            ),
            (Detail::ErrorOpeningStdin("file is empty".to_owned()), "Error opening stdin file: file is empty"),
        ] {
            assert_eq!(detail.to_string(), text);
        }
    }

    #[test]
    fn texts_are_those_of_work_types_6() {
        let pod = || "ns/name".to_owned();
        for (detail, text) in [
            (Detail::ExitStatusMessage(3, "boom".to_owned()), "exit status 3: boom"),
            (Detail::OomKilled(137), "exit status 137 (OOMKilled)"),
            (
                Detail::PodEnded { pod: pod(), reason: "Evicted".to_owned(), message: "low disk".to_owned() },
                "Pod ns/name evicted: low disk",
            ),
            (
                Detail::PodUnschedulable("0/3 nodes are available: x".to_owned()),
                "Pod created: Unschedulable: 0/3 nodes are available: x",
            ),
            (
                Detail::PodPending { reason: "ImagePullBackOff".to_owned(), message: "Back-off".to_owned() },
                "Pending: ImagePullBackOff: Back-off",
            ),
            (Detail::PodPending { reason: "FailedMount".to_owned(), message: String::new() }, "Pending: FailedMount"),
            (
                Detail::PodDeadline { pod: pod(), seconds: 60 },
                "Pod ns/name exceeded its deadline of 60s (DeadlineExceeded)",
            ),
            (Detail::StdinCut { sent: 5, total: 10 }, "stdin was cut at byte 5 of 10"),
            (Detail::TimedOutAfter("1h0m0s".to_owned()), "Timed out after 1h0m0s"),
            (Detail::RunnerGone, "Runner is gone"),
            (
                Detail::OutputIncomplete { from: "T1".to_owned(), to: "T2".to_owned() },
                "Output may be incomplete: log rotated between T1 and T2",
            ),
            (Detail::OutputCut(5), "output was cut at byte 5"),
            (
                Detail::WithWarning {
                    end: Box::new(Detail::StdinCut { sent: 5, total: 10 }),
                    warning: Box::new(Detail::OutputIncomplete { from: "T1".to_owned(), to: "T2".to_owned() }),
                },
                "stdin was cut at byte 5 of 10; Output may be incomplete: log rotated between T1 and T2",
            ),
        ] {
            assert_eq!(detail.to_string(), text);
        }
    }

    #[test]
    fn pod_problems_are_those_of_control_protocol_5_5() {
        for (problem, text) in [
            (PodProblem::Message("pods is forbidden: nope".to_owned()), "pods is forbidden: nope"),
            (PodProblem::NoWorker, "at least one container must be named worker"),
            (PodProblem::Params(SplitError::OpenQuote), "EOF found when expecting closing quote"),
            (PodProblem::FailedWithExitCode(7, "boom".to_owned()), "pod failed to start, exit code 7: boom"),
            (PodProblem::FailedWithReason("Evicted".to_owned()), "pod failed to start, Evicted"),
            (PodProblem::FailedToStart, "pod failed to start"),
            (
                PodProblem::ContainerFailedToStart("ImagePullBackOff".to_owned()),
                "container failed to start, ImagePullBackOff",
            ),
            (PodProblem::ContainerFailed(9, "mm".to_owned()), "container failed with exit code 9: mm"),
            (PodProblem::TimedOut, "timed out waiting for the condition"),
            (PodProblem::NoEvent("X".to_owned()), "did not return an event while watching pod for work unit X"),
            (PodProblem::NotFound("kubeit-1".to_owned()), "pods \"kubeit-1\" not found"),
        ] {
            assert_eq!(Detail::ErrorCreatingPod(problem).to_string(), format!("Error creating pod: {text}"));
        }
    }
}
