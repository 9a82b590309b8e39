use std::process::ExitCode;

/// Every way in which `ctl` ends. The codes are those of the original client where it has them
/// (control-protocol 6.3), further ones are ours (work-types 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: an error, or a unit whose results were read has failed.
    Error,
    /// 2: wrong usage, told by clap, or a ping without reply.
    UsageOrNoReply,
    /// 3: a reload was refused because of an action that cannot be reloaded.
    NotReloadable,
    /// 4: a reload failed.
    ReloadFailed,
    /// 5: a reload failed in a way that is not known.
    ReloadUnknown,
    /// 10: a unit waited for has failed.
    UnitFailed,
    /// 11: a unit waited for was cancelled.
    UnitCanceled,
    /// 12: the node does not know the command.
    Unsupported,
    /// 101: a submit failed.
    SubmitFailed,
    /// 124: time is up.
    TimedOut,
    /// The exit code of a unit's own command, with `work wait --exit-code`.
    OfUnit(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::UsageOrNoReply => 2,
            Self::NotReloadable => 3,
            Self::ReloadFailed => 4,
            Self::ReloadUnknown => 5,
            Self::UnitFailed => 10,
            Self::UnitCanceled => 11,
            Self::Unsupported => 12,
            Self::SubmitFailed => 101,
            Self::TimedOut => 124,
            Self::OfUnit(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table that `ctl --help` shows and docs/ctl.md repeats.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    error, or the unit whose results were read has failed
  2    wrong usage; ping: a node did not reply
  3    reload: an action was changed that cannot be reloaded
  4    reload: the configuration could not be read or applied
  5    reload: failed otherwise
  10   work wait: a unit has failed
  11   work wait: a unit was cancelled
  12   the node does not know the command
  101  work submit: the unit could not be submitted
  124  work wait: time is up
  work wait --exit-code ends with the exit code of the unit's own command";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_code() {
        let listed: Vec<u8> =
            EXIT_CODES.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        let codes = [
            Exit::Done,
            Exit::Error,
            Exit::UsageOrNoReply,
            Exit::NotReloadable,
            Exit::ReloadFailed,
            Exit::ReloadUnknown,
            Exit::UnitFailed,
            Exit::UnitCanceled,
            Exit::Unsupported,
            Exit::SubmitFailed,
            Exit::TimedOut,
        ];
        assert_eq!(listed, codes.map(Exit::code));
    }

    #[test]
    fn the_documentation_repeats_the_help() {
        let page = include_str!("../../docs/ctl.md");
        for line in EXIT_CODES.lines().skip(1) {
            let Some((code, meaning)) = line.trim().split_once("  ") else { continue };
            let row = format!("| {code} | {} |", meaning.trim());
            assert!(page.contains(&row), "docs/ctl.md lacks the row {row}");
        }
    }
}
