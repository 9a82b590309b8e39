//! Pages of the documentation whose commands and files are tried as they stand there.

use anyhow::{Context, Result};

/// A fenced block of a page.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The word behind the fence.
    pub language: &'a str,
    /// What stands in it.
    pub text: &'a str,
    /// What stands before it, back to the block before.
    before: &'a str,
}

/// The fenced blocks of a page that name a language, in order.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("\n```") {
        let (language, after) = after.split_once('\n').unwrap_or((after, ""));
        let (text, after) = after.split_once("\n```").unwrap_or((after, ""));
        found.push(Block { language, text, before });
        rest = after;
    }
    found
}

impl<'a> Block<'a> {
    /// The commands of a terminal session: the lines that begin with a dollar sign.
    pub fn commands(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.lines().filter_map(|line| line.strip_prefix("$ "))
    }

    /// The name of a file: the first word in backticks in the paragraph before the block.
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn name(&self) -> Result<&'a str> {
        let paragraph = self.before.trim_end().rsplit("\n\n").next().unwrap_or_default();
        paragraph.split('`').nth(1).context("a file without a name")
    }
}
