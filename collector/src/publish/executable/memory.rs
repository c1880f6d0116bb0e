//! What the publisher asks of whoever remembers for it.

use crate::events::{ContentDigest, ContentKey, PackageOwner};

/// Remembers contents and knows packages. Nothing of this may fail: what cannot be remembered is read
/// again, and a package that cannot be found is unknown.
pub trait Memory: Send {
    /// Whether a content was told of before.
    fn knows(&mut self, content: &ContentKey) -> bool;

    /// Remembers that a content was told of, as long as there is room; false when that is to be tried
    /// again.
    fn remember(
        &mut self,
        content: &ContentKey,
        time_ns: i64,
        digest: Option<&ContentDigest>,
    ) -> bool;

    /// The package that the file at a path of the host belongs to.
    fn owner(&mut self, path: &str, digest: Option<&ContentDigest>) -> Ownership;
}

/// Whose a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// A package's.
    Of(PackageOwner),
    /// No package's.
    Nobody,
    /// That is being found out; ask again.
    Later,
}
