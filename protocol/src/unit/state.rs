use std::fmt;

/// State of a work unit (control-protocol 3.8).
///
/// On the wire and on disk it is a number; a number from another time is kept and shown, never refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// 0: accepted, waiting for its input, its pod or its process.
    Pending,
    /// 1: the job or pod runs.
    Running,
    /// 2: ended well.
    Succeeded,
    /// 3: ended badly, or could not be started.
    Failed,
    /// 4: cancelled. Not *complete* in the sense of the protocol, but never left either.
    Canceled,
    /// Any other number. [`State::from_number`] never makes one for 0 to 4.
    Unknown(i64),
}

impl State {
    /// The state of that number.
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Pending,
            1 => Self::Running,
            2 => Self::Succeeded,
            3 => Self::Failed,
            4 => Self::Canceled,
            other => Self::Unknown(other),
        }
    }

    /// The number that stands for the state in `status` files and answers.
    pub fn number(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Running => 1,
            Self::Succeeded => 2,
            Self::Failed => 3,
            Self::Canceled => 4,
            Self::Unknown(other) => other,
        }
    }

    /// The `StateName` of answers: `Succeeded`, or `Unknown: 7`.
    pub fn name(self) -> String {
        self.to_string()
    }

    /// Whether the unit is complete in the protocol's sense: 2 and 3 only. `results` of the original end here.
    pub fn is_complete(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// Whether the state is left only by release: complete or cancelled.
    pub fn is_final(self) -> bool {
        self.is_complete() || self == Self::Canceled
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Unknown(other) => return f.pad(&format!("Unknown: {other}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_control_protocol_3_8() {
        let names = ["Pending", "Running", "Succeeded", "Failed", "Canceled"];
        for (number, name) in (0..).zip(names) {
            let state = State::from_number(number);
            assert_eq!((state.number(), state.name().as_str()), (number, name));
        }
        let complete: Vec<_> = (-1..7).filter(|n| State::from_number(*n).is_complete()).collect();
        let last: Vec<_> = (-1..7).filter(|n| State::from_number(*n).is_final()).collect();
        assert_eq!((complete, last), (vec![2, 3], vec![2, 3, 4]));
    }

    #[test]
    fn an_unknown_state_is_kept() {
        for number in [5, -1, i64::MAX] {
            let state = State::from_number(number);
            assert_eq!((state.number(), state.name()), (number, format!("Unknown: {number}")));
        }
    }
}
