//! Which images may be used.

/// A pattern for names of images: `*` stands for anything but `/`, `?` for one character, `[ab]` for one of these, `**`
/// for any part of a path. What it is compared with is the name as it was given: `busybox` is not
/// `docker.io/library/busybox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern(glob::Pattern);

impl ImagePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        glob::Pattern::new(text).map(Self).map_err(|fault| fault.to_string())
    }

    /// True if it matches the whole name.
    #[must_use]
    pub fn matches(&self, image: &str) -> bool {
        const OPTIONS: glob::MatchOptions = glob::MatchOptions {
            case_sensitive: true,
            // A pattern for one registry must not match another one's path.
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        self.0.matches_with(image, OPTIONS)
    }
}
