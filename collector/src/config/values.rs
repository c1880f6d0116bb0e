//! The types of settings that TOML does not have: durations, sizes with bounds, levels.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize, Serializer};

/// When stored events are made safe from a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// After each write.
    Always,
    /// At most this long after a write.
    Every(Duration),
    /// When the kernel writes them out by itself.
    Never,
}

impl fmt::Display for Sync {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => formatter.write_str("always"),
            Self::Never => formatter.write_str("never"),
            Self::Every(interval) => humantime::format_duration(*interval).fmt(formatter),
        }
    }
}

impl Serialize for Sync {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sync {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => match humantime::parse_duration(&text) {
                Ok(interval) if interval > Duration::ZERO => Ok(Self::Every(interval)),
                _ => Err(D::Error::invalid_value(
                    Unexpected::Str(&text),
                    &"a duration such as \"1s\", \"always\" or \"never\"",
                )),
            },
        }
    }
}

/// How much the collector says about its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what lost data.
    Error,
    /// Also what needs attention.
    Warn,
    /// Also the course of things.
    Info,
    /// Also what helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Smallest journal and smallest ring, in bytes.
const BYTES_MIN: u64 = 64 * 1024;

/// Largest ring, in bytes.
const RING_BYTES_MAX: u64 = 1 << 30;

pub(super) fn journal_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let bytes = u64::deserialize(deserializer)?;
    if bytes < BYTES_MIN {
        let expected = "at least 65536 bytes";
        return Err(D::Error::invalid_value(Unexpected::Unsigned(bytes), &expected));
    }
    Ok(bytes)
}

pub(super) fn ring_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let bytes = u64::deserialize(deserializer)?;
    let allowed = bytes.is_power_of_two() && (BYTES_MIN..=RING_BYTES_MAX).contains(&bytes);
    u32::try_from(bytes).ok().filter(|_| allowed).ok_or_else(|| {
        let expected = "a power of two between 65536 and 1073741824";
        D::Error::invalid_value(Unexpected::Unsigned(bytes), &expected)
    })
}

/// A duration in words, at least a second.
pub(super) mod journal_age {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer, Unexpected};

    pub(in super::super) fn serialize<S: Serializer>(
        age: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*age))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        match humantime::parse_duration(&text) {
            Ok(age) if age >= Duration::from_secs(1) => Ok(age),
            _ => Err(D::Error::invalid_value(
                Unexpected::Str(&text),
                &"a duration of at least one second such as \"5m\"",
            )),
        }
    }
}

/// A duration in words.
pub(super) mod age {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer, Unexpected};

    /// Seconds of a day.
    const DAY: u64 = 24 * 3600;

    pub(in super::super) fn serialize<S: Serializer>(
        age: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let seconds = age.as_secs();
        // As days it is plainer than as months, which are no whole number of days.
        if seconds > 0 && seconds.is_multiple_of(DAY) && age.subsec_nanos() == 0 {
            return serializer.collect_str(&format_args!("{}days", seconds / DAY));
        }
        serializer.collect_str(&humantime::format_duration(*age))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|_not_one| {
            D::Error::invalid_value(Unexpected::Str(&text), &"a duration such as \"90days\"")
        })
    }
}

/// A duration in words that may be left out.
pub(super) mod optional_age {
    use super::{Deserializer, Duration, Serializer, age};

    pub(in super::super) fn serialize<S: Serializer>(
        age: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match age {
            Some(age) => age::serialize(age, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        age::deserialize(deserializer).map(Some)
    }
}
