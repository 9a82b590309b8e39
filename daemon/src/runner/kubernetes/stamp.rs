//! Time stamps of log lines: RFC 3339 to the nanosecond, in whatever zone the node's kubelet lives.

use std::fmt;

use serde::{Deserialize, Serialize};

const SECOND: i64 = 1_000_000_000;

/// Nanoseconds since 1970 in UTC. Reaches from 1677 to 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Stamp(pub(crate) i64);

impl Stamp {
    /// Reads `2026-11-21T08:32:26.215651485Z`, with 0 to 9 decimals and `Z` or an offset such as `+02:00`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (whole, rest) = text.split_at_checked(19)?;
        Self::join(seconds(whole)?, rest)
    }

    fn join(whole: i64, rest: &[u8]) -> Option<Self> {
        let (nanos, zone) = fraction(rest)?;
        let seconds = whole.checked_sub(offset(zone)?)?;
        seconds.checked_mul(SECOND)?.checked_add(nanos).map(Self)
    }

    /// The begin of the second that holds this time, as `sinceTime` wants it: the API server cuts the rest off
    /// (kubernetes-streams 4.3).
    pub(crate) fn second(self) -> String {
        format!("{}Z", Clock(self.0.div_euclid(SECOND)))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}Z", Clock(self.0.div_euclid(SECOND)), self.0.rem_euclid(SECOND))
    }
}

/// Reads stamps of neighbouring lines: most of them differ in the fraction only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    whole: [u8; 19],
    seconds: Option<i64>,
}

impl Reader {
    /// As [`Stamp::parse`].
    pub(crate) fn parse(&mut self, text: &[u8]) -> Option<Stamp> {
        let (whole, rest) = text.split_at_checked(19)?;
        if self.seconds.is_none() || self.whole != *whole {
            self.seconds = Some(seconds(whole)?);
            self.whole.copy_from_slice(whole);
        }
        Stamp::join(self.seconds?, rest)
    }
}

/// `2026-11-21T08:32:26` in seconds since 1970, the zone left aside.
fn seconds(text: &[u8]) -> Option<i64> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1] = text else {
        return None;
    };
    let year = digits(&[y0, y1, y2, y3])?;
    let (month, day) = (digits(&[m0, m1])?, digits(&[d0, d1])?);
    let (hour, minute, second) = (digits(&[h0, h1])?, digits(&[i0, i1])?, digits(&[s0, s1])?);
    let real = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    real.then(|| days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

/// Days from 1970-01-01 in the Gregorian calendar, with years that begin in March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The reverse of [`days_since_1970`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// `.215651485Z`: nanoseconds, and the zone that follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (decimals, zone) = text.split_at(length);
    if !(1..=9).contains(&length) {
        return None;
    }
    let scale = 10_i64.pow(u32::try_from(9 - length).ok()?);
    Some((digits(decimals)? * scale, zone))
}

/// Seconds that the zone is east of Greenwich.
fn offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let seconds = digits(&[h0, h1])? * 3600 + digits(&[m0, m1])? * 60;
            Some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// Seconds since 1970 as `2026-11-21T08:32:26`.
struct Clock(i64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(86_400));
        let of_day = self.0.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stamps_of_kubelets_are_read() {
        let stamp = Stamp::parse(b"2026-11-21T08:32:26.215651485Z").unwrap();
        assert_eq!(stamp.0, 1_795_249_946_215_651_485);
        assert_eq!(stamp.to_string(), "2026-11-21T08:32:26.215651485Z");
        assert_eq!(stamp.second(), "2026-11-21T08:32:26Z");
        // The zone is the node's (kubernetes-streams 4.1).
        assert_eq!(Stamp::parse(b"2026-11-21T10:32:26.215651485+02:00"), Some(stamp));
        assert_eq!(Stamp::parse(b"2026-11-20T23:02:26.215651485-09:30"), Some(stamp));
        assert_eq!(Stamp::parse(b"1970-01-01T00:00:00Z"), Some(Stamp(0)));
        assert_eq!(Stamp::parse(b"2024-02-29T00:00:00.5Z").unwrap().to_string(), "2024-02-29T00:00:00.500000000Z");
    }

    #[test]
    fn other_text_is_no_stamp() {
        for text in [
            "",
            "hello",
            "2026-11-21",
            "2026-11-21T08:32:26",
            "2026-11-21T08:32:26.Z",
            "2026-11-21T08:32:26.1234567890Z",
            "2026-13-21T08:32:26Z",
            "2026-11-21T24:32:26Z",
            "2026-11-21t08:32:26Z",
            "2026-11-21T08:32:26+2:00",
            "9999-11-21T08:32:26Z",
            "2026-11-21T08:32:26.1Zx",
        ] {
            assert_eq!(Stamp::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_stamp_is_read_back(nanos in i64::MIN + SECOND..=i64::MAX) {
            let text = Stamp(nanos).to_string();
            let mut reader = Reader::default();
            prop_assert_eq!(Stamp::parse(text.as_bytes()), Some(Stamp(nanos)));
            prop_assert_eq!(reader.parse(text.as_bytes()), Some(Stamp(nanos)));
            prop_assert_eq!(reader.parse(text.as_bytes()), Some(Stamp(nanos)));
        }

        #[test]
        fn no_bytes_make_it_fall(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Stamp::parse(&text);
        }
    }
}
