//! The bounds of single tables, `[retention.tables]`. A table that keeps nothing to bound is refused
//! here, so that an error has a line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use super::size;
use super::suggest::suggest;
use super::values::optional_age;
use crate::tables;

/// How much of one table is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "bounds such as { max_age = \"30days\" }")]
pub struct TableRetentionConfig {
    /// The age from which its rows go.
    #[serde(with = "optional_age", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// Bytes of its rows on disk.
    #[serde(with = "size::optional", skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// The bounds of tables of events.
pub(super) fn tables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, TableRetentionConfig>, D::Error> {
    let bounds = BTreeMap::<EventTableName, TableRetentionConfig>::deserialize(deserializer)?;
    Ok(bounds.into_iter().map(|(name, bounds)| (name.0, bounds)).collect())
}

/// The name of a table that there is and that keeps history.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct EventTableName(String);

impl<'de> Deserialize<'de> for EventTableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = tables::event_schemas().iter().map(|schema| schema.name);
        if known.clone().any(|known| known == name) {
            return Ok(Self(name));
        }
        let is_state = tables::state_tables().iter().any(|entry| entry.schema().name == name);
        let what = if is_state {
            "a table of state keeps no history to bound"
        } else {
            "there is no such table"
        };
        Err(D::Error::custom(format_args!("{what}{}", suggest(&name, known))))
    }
}
