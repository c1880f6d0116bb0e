//! The comparisons that a scan can take over, as SQLite offers them and as plans write them.

/// A comparison of a column with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operator {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    /// As [`Self::Equal`], and null is null.
    Is,
    /// Equal to one of several values, handed over all at once.
    In,
    Like,
    Glob,
    IsNull,
    IsNotNull,
}

impl Operator {
    pub(super) const ALL: [Self; 11] = [
        Self::Equal,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Is,
        Self::In,
        Self::Like,
        Self::Glob,
        Self::IsNull,
        Self::IsNotNull,
    ];

    /// As a plan writes it after the column, with `?` for its argument.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Equal => "=?",
            Self::Greater => ">?",
            Self::GreaterOrEqual => ">=?",
            Self::Less => "<?",
            Self::LessOrEqual => "<=?",
            Self::Is => " IS ?",
            Self::In => " IN ?",
            Self::Like => " LIKE ?",
            Self::Glob => " GLOB ?",
            Self::IsNull => " IS NULL",
            Self::IsNotNull => " IS NOT NULL",
        }
    }

    /// Whether it orders a column and a value, or equates them.
    pub(super) const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::Greater
                | Self::GreaterOrEqual
                | Self::Less
                | Self::LessOrEqual
                | Self::Is
        )
    }

    /// Whether it bounds a range at its start.
    pub(super) const fn bounds_start(self) -> bool {
        matches!(self, Self::Equal | Self::Is | Self::Greater | Self::GreaterOrEqual)
    }

    /// Whether it bounds a range at its end.
    pub(super) const fn bounds_end(self) -> bool {
        matches!(self, Self::Equal | Self::Is | Self::Less | Self::LessOrEqual)
    }

    /// Whether only rows with one value, or one of a few, satisfy it.
    pub(super) const fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::Is | Self::In)
    }
}
