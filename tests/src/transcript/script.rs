//! Reading of transcript files.

use anyhow::{Context, Result, bail, ensure};

use crate::binaries::Kind;

/// A transcript file.
#[derive(Debug)]
pub struct Script {
    pub(super) name: String,
    pub(super) scenarios: Vec<Scenario>,
}

/// A place where the two programs are meant to differ.
#[derive(Debug)]
pub struct Difference {
    /// The scenario's title.
    pub scenario: String,
    /// Why they differ.
    pub reason: String,
}

#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) title: String,
    pub(super) program: Option<Kind>,
    pub(super) tcp: bool,
    pub(super) reasons: Vec<String>,
    pub(super) steps: Vec<Step>,
}

impl Scenario {
    pub(super) fn applies_to(&self, program: Kind) -> bool {
        self.program.is_none_or(|only| only == program)
    }
}

#[derive(Debug)]
pub(super) struct Step {
    /// Line of the file, from 1.
    pub(super) line: usize,
    pub(super) connection: u32,
    pub(super) program: Option<Kind>,
    pub(super) act: Act,
}

#[derive(Debug)]
pub(super) enum Act {
    SendLine(String),
    SendBytes(Vec<u8>),
    HalfClose,
    ExpectLine(String),
    ExpectBytes(Vec<u8>),
    ExpectEnd,
    WaitRunning(String),
    WaitEnded(String),
}

impl Script {
    /// Reads a transcript.
    ///
    /// # Errors
    /// Fails with the line that is not understood, and if a program differs without a reason.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut script = Self { name: name.to_owned(), scenarios: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            script.read(index + 1, line).with_context(|| format!("{name}:{}: {line}", index + 1))?;
        }
        for scenario in &script.scenarios {
            let differs = scenario.program.is_some() || scenario.steps.iter().any(|step| step.program.is_some());
            ensure!(
                differs != scenario.reasons.is_empty(),
                "{name}, {:?}: a reason (`! ...`) and lines for one program belong together",
                scenario.title
            );
        }
        Ok(script)
    }

    fn read(&mut self, number: usize, line: &str) -> Result<()> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(title) = line.strip_prefix("== ") {
            let (program, title) = only(title)?;
            let title = title.trim().to_owned();
            self.scenarios.push(Scenario { title, program, tcp: false, reasons: Vec::new(), steps: Vec::new() });
            return Ok(());
        }
        let scenario = self.scenarios.last_mut().context("a line before the first scenario")?;
        if let Some(reason) = line.strip_prefix("! ") {
            scenario.reasons.push(reason.to_owned());
        } else if line == "@ tcp" {
            scenario.tcp = true;
        } else {
            scenario.steps.push(step(number, line)?);
        }
        Ok(())
    }

    /// Where the programs are meant to differ, and why.
    pub fn differences(&self) -> impl Iterator<Item = Difference> {
        self.scenarios.iter().flat_map(|scenario| {
            scenario
                .reasons
                .iter()
                .map(|reason| Difference { scenario: scenario.title.clone(), reason: reason.clone() })
        })
    }
}

/// `[worknoded] rest` → the program and the rest; without brackets, all programs.
fn only(text: &str) -> Result<(Option<Kind>, &str)> {
    let Some(inner) = text.strip_prefix('[') else {
        return Ok((None, text));
    };
    let (name, rest) = inner.split_once(']').context("no closing bracket")?;
    let kinds = [Kind::Worknoded, Kind::Receptor];
    let kind = kinds.into_iter().find(|kind| kind.name() == name);
    Ok((Some(kind.with_context(|| format!("no program {name:?}"))?), rest))
}

/// A letter, a connection's number, a program in brackets, a mark, and the rest.
fn step(line: usize, text: &str) -> Result<Step> {
    let mut rest = text;
    let who = rest.chars().next().context("an empty line")?;
    rest = rest.strip_prefix(who).unwrap_or_default();
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    let (number, after) = rest.split_at_checked(digits).context("not ASCII")?;
    let connection = if number.is_empty() { 1 } else { number.parse()? };
    let (program, rest) = only(after)?;
    let act = match (who, rest) {
        ('C', "<EOF>") => Act::HalfClose,
        ('S', "<EOF>") => Act::ExpectEnd,
        _ => {
            let mark = rest.chars().next().context("no mark")?;
            let content = rest.strip_prefix(mark).unwrap_or_default();
            let content = content.strip_prefix(' ').unwrap_or(content);
            match (who, mark) {
                ('C', '>') => Act::SendLine(content.to_owned()),
                ('C', '|') => Act::SendBytes(unescaped(content)?),
                ('S', '>') => Act::ExpectLine(content.to_owned()),
                ('S', '|') => Act::ExpectBytes(unescaped(content)?),
                ('R', '>') => Act::WaitRunning(content.to_owned()),
                ('W', '>') => Act::WaitEnded(content.to_owned()),
                _ => bail!("not a line of a transcript"),
            }
        }
    };
    Ok(Step { line, connection, program, act })
}

/// Bytes of a text with `\n \r \t \0 \\ \xNN`.
fn unescaped(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match chars.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).context("two hexadecimal digits after \\x")?
            }
            other => bail!("unknown escape {other:?}"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_each_kind() {
        let text = "# c\n== t\n! because\nC> a\nC2| \\x00\\n\nC<EOF>\nS[receptor]> b\nS| x\nS3<EOF>\nW> <a>\n";
        let script = Script::parse("x", text).unwrap();
        let steps = &script.scenarios[0].steps;
        let connections: Vec<u32> = steps.iter().map(|step| step.connection).collect();
        assert_eq!(connections, [1, 2, 1, 1, 1, 3, 1]);
        assert!(matches!(&steps[1].act, Act::SendBytes(bytes) if bytes == b"\0\n"));
        assert_eq!(steps[3].program, Some(Kind::Receptor));
        assert_eq!(script.differences().count(), 1);
    }

    #[test]
    fn a_difference_needs_a_reason() {
        assert!(Script::parse("x", "== t\nS[receptor]> b\n").is_err());
        assert!(Script::parse("x", "== t\n! because\nS> b\n").is_err());
        assert!(Script::parse("x", "== t\nX> b\n").is_err());
    }
}
