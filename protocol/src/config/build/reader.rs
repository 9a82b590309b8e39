//! Reading one action's parameters in their last form, with a problem noted for each that has none.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::error::{CheckError, ConvertError, NumberFault, Phase, ValueFault};
use crate::config::host;
use crate::config::item::Item;
use crate::config::model::kubernetes::Quantity;
use crate::config::schema::Kind;
use crate::duration;

use super::Builder;

/// One action being judged.
pub(super) struct Reader<'a, 'b> {
    pub(super) builder: &'a mut Builder<'b>,
    pub(super) item: &'a Item,
    /// Its place in the list.
    pub(super) order: usize,
}

impl Reader<'_, '_> {
    /// Notes a problem with a parameter, or, with an empty name, with the action.
    pub(super) fn refuse(&mut self, phase: Phase, key: &str, error: CheckError) {
        let place = if key.is_empty() { self.item.place.clone() } else { self.item.place_of(key) };
        self.builder.refuse(phase, self.order, place, error);
    }

    /// Notes what is odd but accepted.
    pub(super) fn notice(&mut self, key: &str, text: String) {
        self.builder.notices.push((self.item.place_of(key), text));
    }

    /// Notes a problem with the value of a parameter.
    pub(super) fn refuse_value(&mut self, key: &'static str, why: ValueFault) {
        self.refuse(Phase::Prepare, key, CheckError::Value { action: self.item.action.name, key, why });
    }

    /// Keeps what could be read; notes why something could not.
    pub(super) fn value<T>(&mut self, key: &'static str, read: Result<T, ValueFault>) -> Option<T> {
        read.map_err(|why| self.refuse_value(key, why)).ok()
    }

    /// A duration of zero or more.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let text = self.item.filled(key)?;
        let read = duration::parse_go(&text).map_err(ValueFault::from);
        self.value(key, read.and_then(|span| span.to_std().ok_or(ValueFault::Negative(text))))
    }

    /// A duration above zero; zero counts as none.
    pub(super) fn timeout(&mut self, key: &'static str) -> Option<Duration> {
        self.duration(key).filter(|span| !span.is_zero())
    }

    /// A whole number that fits a `T`.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, key: &'static str) -> Option<T> {
        let number = self.item.int(key)?;
        let range = |_| ValueFault::Number(ConvertError::Int { text: number.to_string(), fault: NumberFault::Range });
        self.value(key, T::try_from(number).map_err(range))
    }

    /// The variant that stands at the place of the given word, in any case, among the words of the parameter's table.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, variants: &[T]) -> Option<T> {
        let Some(Kind::Word(words)) = self.item.action.param(key).map(|param| param.kind) else {
            debug_assert!(false, "{key} takes no words");
            return None;
        };
        debug_assert_eq!(words.len(), variants.len(), "{key}");
        let text = self.item.filled(key)?;
        let place = words.iter().position(|word| word.eq_ignore_ascii_case(&text));
        self.value(key, place.and_then(|place| variants.get(place)).copied().ok_or(ValueFault::Word { text, words }))
    }

    /// A Kubernetes quantity.
    pub(super) fn quantity(&mut self, key: &'static str) -> Option<Quantity> {
        let text = self.item.filled(key)?;
        self.value(key, quantity(&text))
    }

    /// An amount of processor: a quantity, or `Nshares`.
    pub(super) fn cpu(&mut self, key: &'static str) -> Option<Quantity> {
        let text = self.item.filled(key)?;
        let read = match text.strip_suffix("shares").map(str::parse::<u64>) {
            Some(Ok(shares)) => Ok(Quantity::checked(format!("{}m", shares.saturating_mul(1000) / 1024))),
            _ => quantity(&text),
        };
        self.value(key, read)
    }

    /// A file that must be there already.
    pub(super) fn existing_file(&mut self, key: &'static str) -> Option<PathBuf> {
        let path = self.item.path(key)?;
        if let Err(error) = self.builder.host.stat(&path) {
            let why = host::system_text("stat", &path, &error);
            self.refuse(Phase::Prepare, key, CheckError::WorkFile { key, why });
        }
        Some(path)
    }

    /// A directory by its whole path.
    pub(super) fn absolute(&mut self, key: &'static str) -> Option<String> {
        let text = self.item.filled(key)?;
        let read = if text.starts_with('/') { Ok(text) } else { Err(ValueFault::RelativePath(text)) };
        self.value(key, read)
    }

    /// Members of a list, each of a form.
    pub(super) fn members<T>(
        &mut self,
        key: &'static str,
        form: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut members = Vec::new();
        for text in self.item.list(key) {
            match read(text) {
                Some(member) => members.push(member),
                None => self.refuse_value(key, ValueFault::Form { form, text: text.clone() }),
            }
        }
        members
    }
}

/// Checks the form of a Kubernetes quantity (work-types 2.1).
pub(super) fn quantity(text: &str) -> Result<Quantity, ValueFault> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let has_digit = number.contains(|c: char| c.is_ascii_digit());
    if !has_digit || number.matches('.').count() > 1 || !suffix.chars().all(|c| "eEinumkKMGTP+-0123456789".contains(c))
    {
        return Err(ValueFault::Quantity);
    }
    let known = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|digits| digits.parse::<i16>().is_ok());
    if known.contains(&suffix) || exponent {
        Ok(Quantity::checked(text.to_owned()))
    } else {
        Err(ValueFault::QuantitySuffix)
    }
}
