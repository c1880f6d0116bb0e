//! The patterns of the section `[file]`. What the publisher of file events could not use is refused
//! here, so that an error has a line.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::publish::path_pattern;

/// The patterns of paths to leave out; there may be none.
pub(super) fn exclude<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    List::deserialize(deserializer).map(|list| list.0)
}

/// The categories; there may be none, each has a pattern.
pub(super) fn categories<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    let categories = BTreeMap::<String, Category>::deserialize(deserializer)?;
    Ok(categories.into_iter().map(|(name, category)| (name, category.0)).collect())
}

struct Category(Vec<String>);

impl<'de> Deserialize<'de> for Category {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let patterns = List::deserialize(deserializer)?.0;
        if patterns.is_empty() {
            return Err(D::Error::custom(
                "a category without patterns watches nothing: name one such as \"/etc/%%\", or \
                 leave the category out",
            ));
        }
        Ok(Self(patterns))
    }
}

struct List(Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor).map(Self)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of patterns such as [\"/etc/%%\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut patterns: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Pattern(text)) = patterns.next_element()? {
            list.push(text);
        }
        Ok(list)
    }
}

struct Pattern(String);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PatternVisitor).map(Self)
    }
}

/// Checks within the visit, so that an error has the line of the pattern, not that of the list.
struct PatternVisitor;

impl Visitor<'_> for PatternVisitor {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a pattern such as \"/etc/%%\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        path_pattern::check(text).map_err(E::custom)?;
        Ok(text.to_owned())
    }
}
