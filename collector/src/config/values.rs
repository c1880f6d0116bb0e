//! The types of settings that TOML does not have: durations and levels; sizes are in `size`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
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
        let expected = "a duration such as \"1s\", \"always\" or \"never\"";
        read(deserializer, expected, |text| match text {
            "always" => Some(Self::Always),
            "never" => Some(Self::Never),
            _ => {
                let interval = humantime::parse_duration(text).ok()?;
                (interval > Duration::ZERO).then_some(Self::Every(interval))
            }
        })
    }
}

/// A niceness that takes nothing from others.
pub(super) fn niceness<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let niceness = u8::deserialize(deserializer)?;
    if niceness > 19 {
        return Err(D::Error::invalid_value(
            Unexpected::Unsigned(niceness.into()),
            &"a number from 0 to 19",
        ));
    }
    Ok(niceness)
}

/// A text that `parse` makes a value of; `expected` says which those are.
fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(TextVisitor { expected, parse })
}

struct TextVisitor<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let parsed = (self.parse)(text);
        parsed.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self.expected))
    }
}

/// How much the collector says about its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "one of \"error\", \"warn\", \"info\", \"debug\" and \"trace\"";
        read(deserializer, expected, |text| match text {
            "error" => Some(Self::Error),
            "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            "trace" => Some(Self::Trace),
            _ => None,
        })
    }
}

/// A way to see the life of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessTier {
    /// The best that can be had.
    Auto,
    /// Programs in the kernel.
    Ebpf,
    /// The kernel's process events connector.
    Connector,
    /// Looking at `/proc` at intervals.
    Scan,
}

impl fmt::Display for ProcessTier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

impl<'de> Deserialize<'de> for ProcessTier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "one of \"auto\", \"ebpf\", \"connector\" and \"scan\"";
        read(deserializer, expected, |text| match text {
            "auto" => Some(Self::Auto),
            "ebpf" => Some(Self::Ebpf),
            "connector" => Some(Self::Connector),
            "scan" => Some(Self::Scan),
            _ => None,
        })
    }
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

/// A duration in words, at least a second.
pub(super) mod journal_age {
    use super::{Deserializer, Duration, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        age: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*age))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        super::read(deserializer, "a duration of at least one second such as \"5m\"", |text| {
            humantime::parse_duration(text).ok().filter(|age| *age >= Duration::from_secs(1))
        })
    }
}

/// A duration in words, at least 100 ms.
pub(super) mod scan_interval {
    use super::{Deserializer, Duration, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        interval: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*interval))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        super::read(deserializer, "a duration of at least 100 ms such as \"1s\"", |text| {
            humantime::parse_duration(text).ok().filter(|wait| *wait >= Duration::from_millis(100))
        })
    }
}

/// A duration in words, of at least a second or none.
pub(super) mod audit_interval {
    use super::{Deserializer, Duration, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        interval: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*interval))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        super::read(deserializer, "a duration of at least 1 s such as \"1m\", or \"0s\"", |text| {
            let interval = humantime::parse_duration(text).ok()?;
            (interval.is_zero() || interval >= Duration::from_secs(1)).then_some(interval)
        })
    }
}

/// A duration in words.
pub(super) mod age {
    use super::{Deserializer, Duration, Serializer};

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
        super::read(deserializer, "a duration such as \"90days\"", |text| {
            humantime::parse_duration(text).ok()
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
