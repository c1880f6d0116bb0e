//! What a statement answered, in a form that stores can be compared by.

use std::io;

use anyhow::ensure;
use bygone_store::sql::{ResultColumn, ResultSink};
use rusqlite::types::ValueRef;

/// Rows, the sum of all integers, and the bytes of all text. Taking it touches every value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    /// Modulo 2^64.
    pub(super) sum: i64,
    pub(super) text_bytes: u64,
}

impl Digest {
    pub(super) fn add(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Integer(number) => self.sum = self.sum.wrapping_add(number),
            ValueRef::Text(text) | ValueRef::Blob(text) => self.text_bytes += text.len() as u64,
            ValueRef::Null | ValueRef::Real(_) => {}
        }
    }

    /// Checks that another store gave the same answer.
    pub(super) fn agrees(&self, other: &Self, what: &str, who: &str) -> anyhow::Result<()> {
        ensure!(self == other, "{what}: Bygone answers {self:?}, {who} {other:?}");
        Ok(())
    }
}

impl ResultSink for Digest {
    fn start(&mut self, _: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        self.rows += 1;
        for value in values {
            self.add(*value);
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
