//! Splitting of command parameters like a shell (control-protocol 4.3).
//!
//! Words are separated by blanks; `'...'` is literal; `"..."` knows the backslash; `\` takes any next character as it
//! is, a line feed too; `#` at the start of a word begins a comment that ends with the line. There are no variables, no
//! globs and no tilde.

/// Why parameters cannot be split. The texts become the Detail of a failed unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// `'` or `"` is still open at the end.
    #[error("EOF found when expecting closing quote")]
    OpenQuote,
    /// The text ends with a backslash.
    #[error("EOF found after escape character")]
    TrailingEscape,
}

/// Splits `params` into words. A quoted nothing (`''`) is an empty word; a text of blanks has no words.
///
/// # Errors
/// If a quote is open or a backslash stands last.
pub fn split(params: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut rest = params.chars();
    while let Some(first) = rest.next() {
        match first {
            ' ' | '\t' | '\r' | '\n' => {}
            '#' => {
                rest.find(|c| *c == '\n');
            }
            _ => words.push(word(first, &mut rest)?),
        }
    }
    Ok(words)
}

/// The word that begins with `first`, up to the next blank outside quotes.
fn word(first: char, rest: &mut std::str::Chars<'_>) -> Result<String, SplitError> {
    let mut out = String::new();
    let mut next = Some(first);
    while let Some(c) = next {
        match c {
            ' ' | '\t' | '\r' | '\n' => break,
            '\'' => loop {
                match rest.next().ok_or(SplitError::OpenQuote)? {
                    '\'' => break,
                    c => out.push(c),
                }
            },
            '"' => loop {
                match rest.next().ok_or(SplitError::OpenQuote)? {
                    '"' => break,
                    '\\' => out.push(rest.next().ok_or(SplitError::TrailingEscape)?),
                    c => out.push(c),
                }
            },
            '\\' => out.push(rest.next().ok_or(SplitError::TrailingEscape)?),
            c => out.push(c),
        }
        next = rest.next();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_those_of_the_original() {
        // Each right side is what the original's splitter answers for the left side.
        for (params, words) in [
            ("", &[][..]),
            (" \t\r\n", &[]),
            ("sh -c 'a b'", &["sh", "-c", "a b"]),
            ("p1 'p 2'", &["p1", "p 2"]),
            (r#"a"b c"d'e f'g"#, &["ab cde fg"]),
            (r#"'' """#, &["", ""]),
            (r#""a\"b\\c\d\n""#, &[r#"a"b\cdn"#]),
            (r"a\ b \# \\", &["a b", "#", r"\"]),
            (r"'a\'", &[r"a\"]),
            ("a#b # rest 'open\nc", &["a#b", "c"]),
            ("# all", &[]),
            ("''#x", &["#x"]),
            ("$HOME ~ *.txt `id`", &["$HOME", "~", "*.txt", "`id`"]),
            ("a\u{a0}b é", &["a\u{a0}b", "é"]),
            ("a\\\nb", &["a\nb"]),
        ] {
            assert_eq!(split(params).unwrap(), words, "{params:?}");
        }
    }

    #[test]
    fn unfinished_parameters_are_refused() {
        for params in ["'a", "\"a", "a 'b c", "\"\\\""] {
            assert_eq!(split(params).unwrap_err().to_string(), "EOF found when expecting closing quote", "{params:?}");
        }
        for params in ["\\", "a \\", "\"a\\"] {
            assert_eq!(split(params).unwrap_err().to_string(), "EOF found after escape character", "{params:?}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in prop::collection::vec(any::<String>(), 0..6)) {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
            prop_assert_eq!(split(&quoted.join(" ")), Ok(words));
        }

        #[test]
        fn no_text_makes_the_splitter_fall(text in any::<String>()) {
            let _ = split(&text);
        }
    }
}
