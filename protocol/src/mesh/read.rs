//! Go's way of filling a structure from JSON (mesh-protocol 3).

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::json;

/// A message that cannot be read. It is dropped; what was wrong is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct MessageError(pub(super) String);

/// A structure of the wire: filled field by field, as the names come.
pub(super) trait Fields: Default {
    /// Takes the value of the field called `name`, which is in lower case. `false`: there is no such field, and nothing
    /// was taken.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Reads a structure from `text`.
///
/// Names count in any case, unknown ones are passed over, the last of several wins, and `null` leaves a field as it is.
/// Bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD.
pub(super) fn read<T: Fields>(text: &[u8]) -> Result<T, MessageError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Structure(PhantomData).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.or_else(|first| {
        // The quick reader is stricter about texts than Go is. What it refuses is seldom, and read once more.
        let value = json::parse(text).map_err(|error| MessageError(error.to_string()))?;
        Structure(PhantomData).deserialize(value).map_err(|_| MessageError(first.to_string()))
    })
}

/// Puts the next value of `map` into `field`; `null` leaves it.
pub(super) fn fill<'de, A: MapAccess<'de>, T: Deserialize<'de>>(field: &mut T, map: &mut A) -> Result<bool, A::Error> {
    if let Some(value) = map.next_value::<Option<T>>()? {
        *field = value;
    }
    Ok(true)
}

/// Puts the next value of `map`, a map itself, into `field`; a `null` in it is `V`'s zero.
pub(super) fn fill_map<'de, A, V>(field: &mut Option<BTreeMap<String, V>>, map: &mut A) -> Result<bool, A::Error>
where
    A: MapAccess<'de>,
    V: Deserialize<'de> + Default,
{
    *field = map.next_value::<Option<Map<V>>>()?.map(|Map(given)| given);
    Ok(true)
}

/// A map in which a `null` is a zero.
struct Map<V>(BTreeMap<String, V>);

impl<'de, V: Deserialize<'de> + Default> Deserialize<'de> for Map<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

struct MapVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de> + Default> Visitor<'de> for MapVisitor<V> {
    type Value = Map<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Map<V>, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, Option<V>>()? {
            entries.insert(key, value.unwrap_or_default());
        }
        Ok(Map(entries))
    }
}

/// A value that is a structure itself.
pub(super) struct Nested<T>(pub(super) T);

impl<'de, T: Fields> Deserialize<'de> for Nested<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Structure(PhantomData).deserialize(deserializer).map(Self)
    }
}

struct Structure<T>(PhantomData<T>);

impl<'de, T: Fields> DeserializeSeed<'de> for Structure<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Fields> Visitor<'de> for Structure<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut value = T::default();
        while let Some(name) = map.next_key::<LowerCase>()? {
            if !value.take(name.as_str(), &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value)
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

/// The longest name of a field is shorter.
const LONGEST_NAME: usize = 32;

/// The name of a field, in lower case; empty if no field has one of that length. Each message has many.
struct LowerCase {
    bytes: [u8; LONGEST_NAME],
    length: usize,
}

impl LowerCase {
    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for LowerCase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = LowerCase;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<LowerCase, E> {
                let mut lower = LowerCase { bytes: [0; LONGEST_NAME], length: 0 };
                if let Some(place) = lower.bytes.get_mut(..name.len()) {
                    place.copy_from_slice(name.as_bytes());
                    place.make_ascii_lowercase();
                    lower.length = name.len();
                }
                Ok(lower)
            }
        }
        deserializer.deserialize_str(Name)
    }
}
