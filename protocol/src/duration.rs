//! Go duration texts: `300ms`, `1h20m30s`, `321.399µs`.
//!
//! Configuration files, runtime parameters and answers of the control service carry durations in the syntax of Go's
//! `time` package (control-protocol 1.2, 3.1). Values are signed nanoseconds in 64 bits, as there, so that the same
//! texts are accepted, refused and printed.

use std::fmt;
use std::time::Duration;

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000 * NANOSECOND;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Magnitude of the most negative value; one more than that of the greatest.
const MAGNITUDE_LIMIT: u64 = 1 << 63;

/// A signed span of time in nanoseconds, read from and printed as a Go duration text.
///
/// ```
/// use worknode_protocol::duration::GoDuration;
///
/// let timeout: GoDuration = "1h20m30s".parse()?;
/// assert_eq!(timeout.nanos(), 4_830_000_000_000);
/// assert_eq!(timeout.to_string(), "1h20m30s");
/// # Ok::<(), worknode_protocol::duration::DurationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(i64);

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `nanos` nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The span in nanoseconds; negative where the text began with `-`.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The span as a [`Duration`], or `None` if it is negative.
    #[must_use]
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }

    /// The span as a [`Duration`], with everything negative as zero: what a timer does with it.
    #[must_use]
    pub fn to_std_or_zero(self) -> Duration {
        self.to_std().unwrap_or(Duration::ZERO)
    }
}

impl From<Duration> for GoDuration {
    /// Spans beyond 292 years become the longest one that can be told.
    fn from(span: Duration) -> Self {
        Self(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_go(self.0))
    }
}

impl std::str::FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse_go(text)
    }
}

/// Why a text is not a duration. `Display` is Go's own wording, which is part of the wire protocol
/// (control-protocol 5.3, work-types 2.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the form, or too long for 64 bits of nanoseconds.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number with nothing after it, as in `5`.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A number followed by letters that name no unit, as in `5d`.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnknownUnit {
        /// The letters in the place of a unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads a Go duration: an optional sign, then one or more decimal numbers, each with an optional fraction and a unit
/// out of `ns us µs ms s m h`; or a bare `0`.
///
/// # Errors
/// If the text has another form, or the span does not fit 64 bits of nanoseconds.
pub fn parse_go(text: &str) -> Result<GoDuration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(GoDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after_number) = Number::read(rest).ok_or_else(invalid)?;
        let unit_end = after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
        let (unit, after_unit) = after_number.split_at(unit_end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let unit_nanos = unit_nanos(unit)
            .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        let part = number.times(unit_nanos).ok_or_else(invalid)?;
        total = total.checked_add(part).filter(|sum| *sum <= MAGNITUDE_LIMIT).ok_or_else(invalid)?;
        rest = after_unit;
    }
    let signed = if negative { 0_i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() };
    signed.map(GoDuration).ok_or_else(invalid)
}

/// Prints `nanos` as Go does: the largest fitting unit of `h m s` with the fraction in the seconds, or, below one
/// second, of `ms µs ns`; `0s` for nothing.
///
/// ```
/// use worknode_protocol::duration::format_go;
///
/// assert_eq!(format_go(321_399), "321.399µs");
/// assert_eq!(format_go(60_188_947_058), "1m0.188947058s");
/// ```
#[must_use]
pub fn format_go(nanos: i64) -> String {
    let magnitude = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let text = match magnitude {
        0 => "0s".to_owned(),
        1..MICROSECOND => format!("{magnitude}ns"),
        MICROSECOND..MILLISECOND => format!("{}µs", decimal(magnitude, MICROSECOND)),
        MILLISECOND..SECOND => format!("{}ms", decimal(magnitude, MILLISECOND)),
        SECOND..MINUTE => format!("{}s", decimal(magnitude, SECOND)),
        MINUTE..HOUR => format!("{}m{}s", magnitude / MINUTE, decimal(magnitude % MINUTE, SECOND)),
        _ => {
            let minutes = magnitude % HOUR / MINUTE;
            format!("{}h{minutes}m{}s", magnitude / HOUR, decimal(magnitude % MINUTE, SECOND))
        }
    };
    format!("{sign}{text}")
}

/// `value / unit` in decimal, without trailing zeros; `unit` is a power of ten above 1.
fn decimal(value: u64, unit: u64) -> String {
    let digits = usize::try_from(unit.ilog10()).unwrap_or(0);
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => NANOSECOND,
        // The micro sign U+00B5 and the Greek letter U+03BC look alike; both are accepted.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// A decimal number: `whole + fraction / scale`.
struct Number {
    whole: u64,
    fraction: u64,
    scale: f64,
}

impl Number {
    /// Reads the number at the beginning of `text`; `None` if there is none or its whole part is too great.
    fn read(text: &str) -> Option<(Self, &str)> {
        let (whole_digits, mut rest) = leading_digits(text);
        let mut whole: u64 = 0;
        for digit in whole_digits.bytes() {
            whole = whole
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))
                .filter(|value| *value <= MAGNITUDE_LIMIT)?;
        }
        let mut number = Self { whole, fraction: 0, scale: 1.0 };
        let mut fraction_digits = "";
        if let Some(after_point) = rest.strip_prefix('.') {
            (fraction_digits, rest) = leading_digits(after_point);
            number.read_fraction(fraction_digits);
        }
        (!whole_digits.is_empty() || !fraction_digits.is_empty()).then_some((number, rest))
    }

    /// Takes as many digits as fit; further ones are beyond a nanosecond's precision.
    fn read_fraction(&mut self, digits: &str) {
        for digit in digits.bytes() {
            let next = self.fraction.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')));
            match next {
                Some(value) if value <= MAGNITUDE_LIMIT => self.fraction = value,
                _ => return,
            }
            self.scale *= 10.0;
        }
    }

    /// The number times `unit`, cut to whole nanoseconds; `None` beyond 64 bits.
    fn times(&self, unit: u64) -> Option<u64> {
        let whole = self.whole.checked_mul(unit).filter(|value| *value <= MAGNITUDE_LIMIT)?;
        if self.fraction == 0 {
            return Some(whole);
        }
        // Floating point on purpose: it is what decides the last nanosecond of a long fraction in Go.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let part = (self.fraction as f64 * (unit as f64 / self.scale)) as u64;
        whole.checked_add(part).filter(|value| *value <= MAGNITUDE_LIMIT)
    }
}

fn leading_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Quotes as Go's `time` package does in its errors: bytes of control and non-ASCII characters as `\xNN`.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=0x7f => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases = [
            ("0", 0),
            ("-0", 0),
            ("+5s", 5_000_000_000),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("30m", 1_800_000_000_000),
            ("1h20m30s", 4_830_000_000_000),
            ("30m10s", 1_810_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("-1.5us", -1_500),
            ("1µs2μs3us4ns", 6_004),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("0.9223372036854775807h", 3_320_413_933_267),
            ("0.100000000000000000000h", 360_000_000_000),
            ("0.830103483285477580700h", 2_988_372_539_827),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_go(text), Ok(GoDuration(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_in_the_words_of_go() {
        let cases = [
            ("x", r#"time: invalid duration "x""#),
            ("", r#"time: invalid duration """#),
            ("-", r#"time: invalid duration "-""#),
            (".", r#"time: invalid duration ".""#),
            (".s", r#"time: invalid duration ".s""#),
            (" 5s", r#"time: invalid duration " 5s""#),
            ("5", r#"time: missing unit in duration "5""#),
            ("1h5", r#"time: missing unit in duration "1h5""#),
            ("5d", r#"time: unknown unit "d" in duration "5d""#),
            ("5s ", r#"time: unknown unit "s " in duration "5s ""#),
            ("5é\"\n", r#"time: unknown unit "\xc3\xa9\"\x0a" in duration "5\xc3\xa9\"\x0a""#),
            ("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#),
            ("99999999999999999999s", r#"time: invalid duration "99999999999999999999s""#),
            ("2562048h", r#"time: invalid duration "2562048h""#),
            ("2562047h60m", r#"time: invalid duration "2562047h60m""#),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_go(text).map_err(|error| error.to_string()), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn prints_what_go_prints() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (321_399, "321.399µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (60_188_947_058, "1m0.188947058s"),
            (245_000_000_000, "4m5s"),
            (1_800_000_000_000, "30m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(format_go(nanos), text);
        }
    }

    #[test]
    fn negative_spans_have_no_standard_duration() {
        assert_eq!(GoDuration(-1).to_std(), None);
        assert_eq!(GoDuration(-1).to_std_or_zero(), Duration::ZERO);
        assert_eq!(GoDuration(7).to_std(), Some(Duration::from_nanos(7)));
        assert_eq!(GoDuration::from(Duration::MAX), GoDuration(i64::MAX));
    }

    proptest! {
        #[test]
        fn every_printed_span_is_read_back(nanos in any::<i64>()) {
            prop_assert_eq!(parse_go(&format_go(nanos)), Ok(GoDuration(nanos)));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = parse_go(&text);
        }

        #[test]
        fn no_text_of_the_alphabet_panics(text in "[-+.0-9a-zµμ]{0,40}") {
            let _ = parse_go(&text);
        }
    }
}
