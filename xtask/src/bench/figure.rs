//! The figures: what each is called, its unit, and what is to be reached.

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Short name, for `--only` and `--json`.
    pub(crate) name: &'static str,
    /// The stage that takes it.
    pub(crate) stage: &'static str,
    /// What is measured, in words.
    pub(crate) title: &'static str,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What is to be reached.
    pub(crate) goal: Goal,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most this many times the Go daemon's figure.
    TimesAtMost(f64),
    /// At least this many times the Go daemon's figure.
    TimesAtLeast(f64),
    /// At least this, in the figure's unit.
    AtLeast(f64),
    /// At most this, in the figure's unit.
    AtMost(f64),
    /// Shown for comparison only.
    Shown,
}

impl Goal {
    /// Whether the goal is met by `ours` beside `theirs`; nothing where it cannot be said.
    pub(crate) fn met(self, ours: f64, theirs: Option<f64>) -> Option<bool> {
        match self {
            Self::TimesAtMost(factor) => Some(ours <= theirs? * factor),
            Self::TimesAtLeast(factor) => Some(ours >= theirs? * factor),
            Self::AtLeast(limit) => Some(ours >= limit),
            Self::AtMost(limit) => Some(ours <= limit),
            Self::Shown => None,
        }
    }

    /// The goal in the table's words.
    pub(crate) fn words(self, unit: &str) -> String {
        match self {
            Self::TimesAtMost(1.0) => "no slower".to_owned(),
            Self::TimesAtMost(factor) => format!("≤ 1/{:.0}", 1.0 / factor),
            Self::TimesAtLeast(factor) => format!("≥ {factor}×"),
            Self::AtLeast(limit) => format!("≥ {limit} {unit}"),
            Self::AtMost(limit) => format!("≤ {limit} {unit}"),
            Self::Shown => "–".to_owned(),
        }
    }
}

const fn figure(
    stage: &'static str,
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    goal: Goal,
) -> Figure {
    Figure { name, stage, title, unit, goal }
}

/// All figures in the table's order. "Finished known" is by asking for the status again and again, the fastest way that
/// both programs offer; by the end of the results it is shown beside it.
pub(crate) const FIGURES: [Figure; 44] = [
    figure("control", "status", "status round trip", "ms", Goal::TimesAtMost(1.0)),
    figure("control", "connect", "connect + banner + status", "ms", Goal::TimesAtMost(1.0)),
    figure("control", "reply", "submit → reply", "ms", Goal::TimesAtMost(1.0 / 10.0)),
    figure("control", "finished", "submit → finished known", "ms", Goal::TimesAtMost(1.0 / 7.0)),
    figure("control", "results-end", "submit → results ended", "ms", Goal::Shown),
    figure("burst", "burst", "burst, 16 connections, until all have ended", "units/s", Goal::TimesAtLeast(8.0)),
    figure("stdout", "stdout", "results of a finished 64 MiB stdout", "MB/s", Goal::TimesAtLeast(8.0)),
    figure("stdout", "stdout-live", "results of a 64 MiB stdout while it is written", "MB/s", Goal::TimesAtLeast(20.0)),
    figure("stdin", "stdin", "64 MiB stdin until `cat` has ended", "MB/s", Goal::TimesAtLeast(2.0)),
    figure("burst", "list", "list of all units", "ms", Goal::TimesAtMost(1.0 / 2.0)),
    figure("burst", "restart", "restart until they are listed", "ms", Goal::TimesAtMost(1.0 / 4.0)),
    figure("burst", "rss-idle", "RSS idle", "MB", Goal::TimesAtMost(1.0 / 3.0)),
    figure("burst", "rss-units", "RSS after the burst", "MB", Goal::TimesAtMost(1.0 / 3.0)),
    figure("jobs", "job-pss", "more memory per running job (PSS)", "MB", Goal::AtMost(1.0)),
    figure("jobs", "job-rss", "more memory per running job (RSS)", "MB", Goal::Shown),
    figure("remote-1", "remote-empty", "empty `cat` on a neighbour: submit → finished known", "ms", Goal::AtMost(20.0)),
    figure("remote-1", "remote-stdout", "… results of 256 MiB of output", "MB/s", Goal::Shown),
    figure("remote-1", "remote-stdin", "… 256 MiB of stdin until its end is known", "MB/s", Goal::Shown),
    figure("remote-1", "remote-200", "… 200 at once, until all have ended", "s", Goal::Shown),
    figure("remote-1", "remote-200-rss", "… RSS of the node that submits, when they run", "MB", Goal::AtMost(40.0)),
    figure("remote-3", "remote-3-stdout", "three hops away: results of 256 MiB of output", "MB/s", Goal::Shown),
    figure("remote-3", "remote-3-stdin", "… 256 MiB of stdin", "MB/s", Goal::Shown),
    figure("remote-mixed", "remote-to-stdout", "from worknode to receptor: results of 256 MiB", "MB/s", Goal::Shown),
    figure("remote-mixed", "remote-to-stdin", "… 256 MiB of stdin", "MB/s", Goal::Shown),
    figure("remote-mixed", "remote-from-stdout", "from receptor to worknode: results of 256 MiB", "MB/s", Goal::Shown),
    figure("remote-mixed", "remote-from-stdin", "… 256 MiB of stdin", "MB/s", Goal::Shown),
    figure(
        "podsim",
        "podsim-lines",
        "log of a pod on podsim, 300,000 short lines",
        "lines/s",
        Goal::AtLeast(100_000.0),
    ),
    figure("podsim", "podsim-bytes", "log of a pod on podsim, 300,000 lines of 1 KiB", "MB/s", Goal::AtLeast(100.0)),
    figure("pods-50", "pods-50-rss", "50 pods at once on podsim: peak RSS", "MB", Goal::Shown),
    figure("pods-50", "pods-50-requests", "… API requests per pod, from creation to deletion", "", Goal::AtMost(4.99)),
    figure("pods-50", "pods-50-requests-small", "… where each writes a line", "", Goal::AtMost(4.99)),
    figure("pods-50", "pods-50-lines", "… short lines of all together", "lines/s", Goal::AtLeast(100_000.0)),
    figure("pods-50", "pods-50-bytes", "… lines of 1 KiB of all together", "MB/s", Goal::AtLeast(100.0)),
    figure("pods-500", "pods-500-rss", "500 pods at once on podsim: peak RSS", "MB", Goal::AtMost(64.0)),
    figure("pods-500", "pods-500-requests", "… API requests per pod", "", Goal::AtMost(4.99)),
    figure("pods-500", "pods-500-requests-small", "… where each writes a line", "", Goal::AtMost(4.99)),
    figure("pods-500", "pods-500-lines", "… short lines of all together", "lines/s", Goal::Shown),
    figure("pods-500", "pods-500-bytes", "… lines of 1 KiB of all together", "MB/s", Goal::Shown),
    figure("cluster", "pod-empty", "pod on the real cluster: `true`, in all", "s", Goal::Shown),
    figure(
        "cluster",
        "pod-cat",
        "… 8 MiB through `cat`, from the first byte of output to the last",
        "MB/s",
        Goal::AtLeast(20.0),
    ),
    figure(
        "cluster",
        "pod-lines",
        "… 300,000 lines, from the first byte of output to the last",
        "lines/s",
        Goal::Shown,
    ),
    figure("cluster", "pod-sleep", "… `echo; sleep 3` in all", "s", Goal::AtMost(4.0)),
    figure("cluster", "pod-end", "… its end known after the container's", "s", Goal::AtMost(0.2)),
    figure("all", "cpu", "CPU of the whole run, with children", "s", Goal::TimesAtMost(1.0 / 5.0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FIGURES.len());
    }

    #[test]
    fn goals_compare_the_right_way_round() {
        assert_eq!(Goal::TimesAtMost(0.1).met(1.0, Some(11.0)), Some(true));
        assert_eq!(Goal::TimesAtMost(0.1).met(2.0, Some(11.0)), Some(false));
        assert_eq!(Goal::TimesAtLeast(8.0).met(79.0, Some(10.0)), Some(false));
        assert_eq!(Goal::TimesAtLeast(8.0).met(80.0, Some(10.0)), Some(true));
        assert_eq!(Goal::TimesAtLeast(8.0).met(80.0, None), None);
        assert_eq!(Goal::AtMost(1.0).met(0.9, None), Some(true));
    }
}
