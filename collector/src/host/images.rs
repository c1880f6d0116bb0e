//! Which files that are mapped to be executed are recorded.

use serde::{Deserialize, Serialize};

/// The choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageChoice {
    /// None.
    None,
    /// Each content when it is first mapped.
    #[default]
    First,
    /// Each mapping.
    All,
}
