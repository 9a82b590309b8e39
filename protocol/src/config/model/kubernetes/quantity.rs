//! Kubernetes quantities: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

use std::fmt;

/// A checked Kubernetes quantity such as `500m` or `512Mi`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quantity(String);

/// Most digits that are counted with; the API itself allows about half of them.
const DIGITS: usize = 36;

impl Quantity {
    /// Takes a text that has been checked to be of a quantity's form.
    pub(in crate::config) fn checked(text: String) -> Self {
        Self(text)
    }

    /// The text as the API takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its amount in billionths, rounded up; `None` where it is out of all range.
    #[must_use]
    pub fn amount(&self) -> Option<i128> {
        amount(&self.0)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The amount of a quantity in billionths, rounded up; `None` where the text is no quantity, or out of all range.
#[must_use]
pub fn amount(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let counts = !digits.is_empty() && digits.len() <= DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    let digits: i128 = counts.then(|| digits.parse().ok())??;
    let (binary, decimal) = scale(suffix)?;
    let exponent = decimal.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(1_i128.checked_shl(binary)?)?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    let amount = match (exponent < 0, power) {
        (_, _) if scaled == 0 => 0,
        (false, power) => scaled.checked_mul(power?)?,
        // Less than a billionth, whatever it is.
        (true, None) => 1,
        (true, Some(power)) => scaled / power + i128::from(scaled % power != 0),
    };
    Some(if negative { -amount } else { amount })
}

/// What a suffix multiplies with: a power of two and a power of ten.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_the_api() {
        for (text, billionths) in [
            ("0", 0),
            ("1", 1_000_000_000),
            ("+2", 2_000_000_000),
            ("-1", -1_000_000_000),
            ("500m", 500_000_000),
            ("0.5", 500_000_000),
            (".5", 500_000_000),
            ("1.", 1_000_000_000),
            ("1n", 1),
            ("0.1n", 1),
            ("1.5u", 1_500),
            ("2k", 2_000_000_000_000),
            ("1e3", 1_000_000_000_000),
            ("1E3", 1_000_000_000_000),
            ("1e-12", 1),
            ("1e-99", 1),
            ("0e99", 0),
            ("1Ki", 1_024_000_000_000),
            ("1.5Gi", 1_610_612_736_000_000_000),
            ("1E", 1_000_000_000_000_000_000_000_000_000),
            ("8Ei", 9_223_372_036_854_775_808_000_000_000),
        ] {
            assert_eq!(amount(text), Some(billionths), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_or_beyond_all_has_no_amount() {
        for text in
            ["", "m", ".", "1.2.3", "1x", "1 Gi", "Gi", "e3", "--1", "1e", "1e99", "1e99999999999", "1K", "0x10"]
        {
            assert_eq!(amount(text), None, "{text}");
        }
        assert_eq!(amount(&"9".repeat(40)), None);
    }
}
