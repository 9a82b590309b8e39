//! The words of Go for signals and system errors, which end up in Detail texts.

/// Name of a Linux signal as Go prints it: 9 is `killed`, 15 `terminated`; one without a name is `signal 34`.
pub fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        16 => "stack fault",
        17 => "child exited",
        18 => "continued",
        19 => "stopped (signal)",
        20 => "stopped",
        21 => "stopped (tty input)",
        22 => "stopped (tty output)",
        23 => "urgent I/O condition",
        24 => "CPU time limit exceeded",
        25 => "file size limit exceeded",
        26 => "virtual timer expired",
        27 => "profiling timer expired",
        28 => "window changed",
        29 => "I/O possible",
        30 => "power failure",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Text of a Linux system error as Go prints it: 2 is `no such file or directory`; one without a text is `errno 4095`.
///
/// Holds the errors that starting a process, reading a connection and writing a file can meet.
pub fn errno_text(number: i32) -> String {
    let text = match number {
        1 => "operation not permitted",
        2 => "no such file or directory",
        4 => "interrupted system call",
        5 => "input/output error",
        7 => "argument list too long",
        8 => "exec format error",
        9 => "bad file descriptor",
        11 => "resource temporarily unavailable",
        12 => "cannot allocate memory",
        13 => "permission denied",
        14 => "bad address",
        16 => "device or resource busy",
        17 => "file exists",
        20 => "not a directory",
        21 => "is a directory",
        22 => "invalid argument",
        23 => "too many open files in system",
        24 => "too many open files",
        26 => "text file busy",
        27 => "file too large",
        28 => "no space left on device",
        30 => "read-only file system",
        32 => "broken pipe",
        36 => "file name too long",
        39 => "directory not empty",
        40 => "too many levels of symbolic links",
        80 => "accessing a corrupted shared library",
        98 => "address already in use",
        99 => "cannot assign requested address",
        103 => "software caused connection abort",
        104 => "connection reset by peer",
        110 => "connection timed out",
        111 => "connection refused",
        113 => "no route to host",
        122 => "disk quota exceeded",
        other => return format!("errno {other}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_go() {
        assert_eq!(signal_name(9), "killed");
        assert_eq!(signal_name(15), "terminated");
        assert_eq!(signal_name(34), "signal 34");
        assert_eq!(errno_text(2), "no such file or directory");
        assert_eq!(errno_text(4095), "errno 4095");
    }
}
