//! The schema that a journal carries of every table, so that it can be read without the program
//! that wrote it.
//!
//! bincode describes nothing itself: the reader needs the order of the fields, their types and
//! which have an option tag.

use crate::bytes::{Bytes, Malformed};
use crate::limits::{COLUMNS_MAX, TABLES_MAX};
use crate::schema::{ColumnType, TableSchema};

/// A table as a journal describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireTable {
    pub(crate) name: String,
    /// Index of the time column in `columns`.
    pub(crate) time: usize,
    pub(crate) columns: Vec<WireColumn>,
}

/// A stored column, in field order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireColumn {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    /// Whether an option tag precedes the value.
    pub(crate) nullable: bool,
}

impl WireTable {
    /// Describes a table of events; `None` when it has no time column.
    pub(crate) fn of(schema: &TableSchema) -> Option<Self> {
        let time = schema.stored().position(|(index, _, _)| Some(index) == schema.time)?;
        let columns = schema.stored().map(|(_, column, column_type)| WireColumn {
            name: column.name.to_owned(),
            column_type,
            nullable: column.nullable,
        });
        Some(Self { name: schema.name.to_owned(), time, columns: columns.collect() })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(&self.name, out);
        out.extend_from_slice(&(self.time as u16).to_le_bytes());
        out.extend_from_slice(&(self.columns.len() as u16).to_le_bytes());
        for column in &self.columns {
            encode_text(&column.name, out);
            out.push(tag(column.column_type));
            out.push(u8::from(column.nullable));
        }
    }

    fn decode(bytes: &mut Bytes<'_>) -> Result<Self, Malformed> {
        let name = decode_text(bytes)?;
        let time = usize::from(bytes.u16()?);
        let count = usize::from(bytes.u16()?);
        if count > COLUMNS_MAX || time >= count {
            return Err(Malformed::Range);
        }
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let name = decode_text(bytes)?;
            let column_type = column_type(bytes.u8()?)?;
            columns.push(WireColumn { name, column_type, nullable: bytes.flag()? });
        }
        Ok(Self { name, time, columns })
    }
}

/// Appends the description of all tables to `out`.
pub(crate) fn encode_tables(tables: &[WireTable], out: &mut Vec<u8>) {
    out.extend_from_slice(&(tables.len() as u16).to_le_bytes());
    for table in tables {
        table.encode(out);
    }
}

/// Reads the description of all tables, which must fill `bytes`.
pub(crate) fn decode_tables(mut bytes: Bytes<'_>) -> Result<Vec<WireTable>, Malformed> {
    let count = usize::from(bytes.u16()?);
    if count > TABLES_MAX {
        return Err(Malformed::Range);
    }
    let mut tables = Vec::with_capacity(count);
    for _ in 0..count {
        tables.push(WireTable::decode(&mut bytes)?);
    }
    bytes.end()?;
    Ok(tables)
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn decode_text(bytes: &mut Bytes<'_>) -> Result<String, Malformed> {
    let count = usize::from(bytes.u16()?);
    let text = std::str::from_utf8(bytes.take(count)?);
    text.map(str::to_owned).map_err(|_not_text| Malformed::Utf8)
}

const fn tag(column_type: ColumnType) -> u8 {
    match column_type {
        ColumnType::Bool => 1,
        ColumnType::I32 => 2,
        ColumnType::I64 => 3,
        ColumnType::U32 => 4,
        ColumnType::U64 => 5,
        ColumnType::F64 => 6,
        ColumnType::Text => 7,
        ColumnType::Blob => 8,
    }
}

const fn column_type(tag: u8) -> Result<ColumnType, Malformed> {
    Ok(match tag {
        1 => ColumnType::Bool,
        2 => ColumnType::I32,
        3 => ColumnType::I64,
        4 => ColumnType::U32,
        5 => ColumnType::U64,
        6 => ColumnType::F64,
        7 => ColumnType::Text,
        8 => ColumnType::Blob,
        tag => return Err(Malformed::Tag(tag)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{EVERYTHING, SMALL};

    #[test]
    fn comes_back_and_every_cut_is_an_error() {
        let tables: Vec<_> = [SMALL, EVERYTHING].into_iter().filter_map(WireTable::of).collect();
        assert_eq!(tables.len(), 2);
        let mut encoded = Vec::new();
        encode_tables(&tables, &mut encoded);
        assert_eq!(decode_tables(Bytes(&encoded)), Ok(tables));
        for cut in 0..encoded.len() {
            assert_eq!(decode_tables(Bytes(&encoded[..cut])), Err(Malformed::Short), "at {cut}");
        }
        encoded.push(0);
        assert_eq!(decode_tables(Bytes(&encoded)), Err(Malformed::Trailing(1)));
    }
}
