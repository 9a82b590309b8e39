use serde_json::{Map, Number, Value};

use crate::quote::quote_byte;

/// Deepest nesting of arrays and objects that [`parse`] follows.
///
/// The original allows 10,000. No command of the protocol nests at all and status documents three levels; a small limit
/// keeps the stack of whoever parses a stranger's line flat.
pub const MAX_DEPTH: usize = 128;

/// Why a text is no JSON, in the words of Go's `encoding/json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends inside a value.
    #[error("unexpected end of JSON input")]
    UnexpectedEnd,
    /// A byte that cannot stand where it stands; `place` says where that is.
    #[error("invalid character {} {place}", quote_byte(*.byte))]
    InvalidCharacter {
        /// The offending byte; a blank where a literal or number is cut off by the end of the text.
        byte: u8,
        /// Where the byte was met, in Go's words: `looking for beginning of value`.
        place: Place,
    },
    /// A number beyond what a 64-bit float can hold.
    #[error("json: cannot unmarshal number {0} into Go value of type float64")]
    NumberOutOfRange(String),
}

/// Where in a value an invalid character was met. The texts are Go's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum Place {
    #[error("looking for beginning of value")]
    BeginValue,
    #[error("looking for beginning of object key string")]
    BeginKey,
    #[error("after object key")]
    AfterKey,
    #[error("after object key:value pair")]
    AfterPair,
    #[error("after array element")]
    AfterElement,
    #[error("after top-level value")]
    AfterTop,
    #[error("in string literal")]
    InString,
    #[error("in string escape code")]
    InEscape,
    #[error("in \\u hexadecimal character escape")]
    InHexEscape,
    #[error("in numeric literal")]
    InNumber,
    #[error("after decimal point in numeric literal")]
    AfterPoint,
    #[error("in exponent of numeric literal")]
    InExponent,
    #[error("in literal {word} (expecting '{expected}')")]
    InLiteral { word: &'static str, expected: char },
    #[error("exceeded max depth")]
    TooDeep,
}

/// Reads one JSON value that fills `text`, apart from blanks around it.
///
/// # Errors
/// With Go's words for the first byte that does not fit. Where several things are wrong a syntax error comes before a
/// number out of range, as the original checks the whole text first.
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let mut reader = Reader { text, at: 0, depth: 0, out_of_range: None };
    reader.skip_blanks();
    let value = reader.value()?;
    reader.skip_blanks();
    if reader.peek().is_some() {
        return Err(reader.unfit(Place::AfterTop));
    }
    reader.out_of_range.map_or(Ok(value), Err)
}

/// `bytes` as text, with U+FFFD for each byte that is not part of valid UTF-8.
///
/// One replacement per byte is what Go does; the standard library's lossy conversion merges some.
pub fn decode_lossy(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    out
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    out_of_range: Option<JsonError>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The error for the byte at hand. At the end of the text Go's reader looks at one made-up blank: where a blank
    /// fits (between tokens, inside strings) the input is too short, elsewhere the blank is the invalid character.
    fn unfit(&self, place: Place) -> JsonError {
        use Place::{AfterPoint, InEscape, InExponent, InHexEscape, InLiteral, InNumber};
        match self.peek() {
            Some(byte) => JsonError::InvalidCharacter { byte, place },
            None => match place {
                InEscape | InHexEscape | InNumber | AfterPoint | InExponent | InLiteral { .. } => {
                    JsonError::InvalidCharacter { byte: b' ', place }
                }
                _ => JsonError::UnexpectedEnd,
            },
        }
    }

    fn value(&mut self) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.unfit(Place::BeginValue)),
        }
    }

    /// Reads what follows an opening bracket, one level deeper.
    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, JsonError>) -> Result<Value, JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(self.unfit(Place::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_blanks();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        let mut map = Map::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unfit(Place::BeginKey));
            }
            let key = self.string()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.unfit(Place::AfterKey));
            }
            self.at += 1;
            self.skip_blanks();
            let value = self.value()?;
            map.insert(key, value);
            if self.ends_list(b'}', Place::AfterPair)? {
                return Ok(Value::Object(map));
            }
        }
    }

    fn array(&mut self) -> Result<Value, JsonError> {
        let mut list = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(list));
        }
        loop {
            list.push(self.value()?);
            if self.ends_list(b']', Place::AfterElement)? {
                return Ok(Value::Array(list));
            }
        }
    }

    /// After a member: whether the closing bracket follows (`true`) or a comma and a further member (`false`).
    fn ends_list(&mut self, close: u8, place: Place) -> Result<bool, JsonError> {
        self.skip_blanks();
        let ended = match self.peek() {
            Some(byte) if byte == close => true,
            Some(b',') => false,
            _ => return Err(self.unfit(place)),
        };
        self.at += 1;
        if !ended {
            self.skip_blanks();
        }
        Ok(ended)
    }

    fn literal(&mut self, word: &'static str, value: Value) -> Result<Value, JsonError> {
        for expected in word.chars() {
            if self.peek().map(char::from) != Some(expected) {
                return Err(self.unfit(Place::InLiteral { word, expected }));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits(Place::InNumber)?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits(Place::AfterPoint)?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits(Place::InExponent)?;
        }
        let digits = decode_lossy(self.text.get(start..self.at).unwrap_or_default());
        Ok(self.checked_number(digits))
    }

    /// At least one digit, and all that follow.
    fn digits(&mut self, place: Place) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unfit(place));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn checked_number(&mut self, digits: String) -> Value {
        let whole = digits.parse::<i64>().map(Number::from).or_else(|_| digits.parse::<u64>().map(Number::from));
        if let Ok(whole) = whole
            && digits != "-0"
        {
            return Value::Number(whole);
        }
        match digits.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Value::Number(number),
            None => {
                self.out_of_range.get_or_insert(JsonError::NumberOutOfRange(digits));
                Value::Null
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            out.push_str(&decode_lossy(self.text.get(start..self.at).unwrap_or_default()));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.unfit(Place::InString)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.hex_escape();
            }
            _ => return Err(self.unfit(Place::InEscape)),
        };
        self.at += 1;
        Ok(plain)
    }

    /// The four digits after `\u`, and the second half of a surrogate pair where one follows.
    fn hex_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_first = self.at;
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u")) {
            self.at += 2;
            let second = self.hex_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // No pair: the second escape is read again, as a character of its own.
            self.at = after_first;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex_digits(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.unfit(Place::InHexEscape))?;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests;
