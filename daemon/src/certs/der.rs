//! Writing DER, as much of it as certificates need. Reading is left to `x509-parser`.

use jiff::Timestamp;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT: u8 = 0x80;
const CONSTRUCTED: u8 = 0x20;

/// One value: tag, length, contents.
fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut der = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // A length has at most eight bytes.
            der.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            der.extend(bytes);
        }
    }
    der.extend_from_slice(contents);
    der
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// A set of one; more would have to be sorted.
pub(super) fn set_of_one(part: &[u8]) -> Vec<u8> {
    value(SET, part)
}

/// A number that is not negative, its bytes in network order.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let mut contents: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if contents.first().is_none_or(|byte| *byte >= 0x80) {
        contents.insert(0, 0);
    }
    value(INTEGER, &contents)
}

pub(super) fn true_value() -> Vec<u8> {
    value(BOOLEAN, &[0xFF])
}

pub(super) fn null() -> Vec<u8> {
    value(NULL, &[])
}

/// A string of bits, without its last `unused` ones.
pub(super) fn bits(bytes: &[u8], unused: u8) -> Vec<u8> {
    value(BIT_STRING, &[&[unused], bytes].concat())
}

pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    value(OCTET_STRING, bytes)
}

pub(super) fn utf8(text: &str) -> Vec<u8> {
    value(UTF8_STRING, text.as_bytes())
}

/// The tag `[number]` around whole values, or in place of a structure's tag.
pub(super) fn context(number: u8, contents: &[u8]) -> Vec<u8> {
    value(CONTEXT | CONSTRUCTED | number, contents)
}

/// The tag `[number]` in place of a simple value's tag.
pub(super) fn context_simple(number: u8, contents: &[u8]) -> Vec<u8> {
    value(CONTEXT | number, contents)
}

pub(super) fn object(arcs: &[u64]) -> Vec<u8> {
    let (first, rest) = match arcs {
        [first, second, rest @ ..] => (first * 40 + second, rest),
        _ => (0, [].as_slice()),
    };
    let mut contents = Vec::new();
    for arc in std::iter::once(&first).chain(rest) {
        let mut groups = vec![u8::try_from(arc & 0x7F).unwrap_or_default()];
        let mut left = arc >> 7;
        while left > 0 {
            groups.push(0x80 | u8::try_from(left & 0x7F).unwrap_or_default());
            left >>= 7;
        }
        contents.extend(groups.into_iter().rev());
    }
    value(OBJECT_IDENTIFIER, &contents)
}

/// A moment to the second: with two digits of the year up to 2049, as RFC 5280 demands, else with four.
pub(super) fn time(moment: Timestamp) -> Vec<u8> {
    let whole = moment.strftime("%Y%m%d%H%M%SZ").to_string();
    match whole.get(2..) {
        Some(short) if ("1950".."2050").contains(&whole.get(..4).unwrap_or_default()) => {
            value(UTC_TIME, short.as_bytes())
        }
        _ => value(GENERALIZED_TIME, whole.as_bytes()),
    }
}
