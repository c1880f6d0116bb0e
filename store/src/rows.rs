//! Decoding of a frame's rows into columns, guided by the schema in the journal's header.
//!
//! Only wanted columns are built; the others are stepped over, since a row's fields follow each
//! other without an index. A column that the journal does not have, or has with another type, is
//! filled with null or zero.

use arrow::array::{ArrayRef, Int64Array};

use crate::bytes::{Bytes, Malformed};
use crate::columns::{self, ColumnBuilder};
use crate::journal::frame::FrameHeader;
use crate::schema::ColumnType;
use crate::wire::WireTable;

/// A column that a reader wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) column_type: ColumnType,
    pub(crate) nullable: bool,
}

/// One field of the row: how it is encoded and where its value goes.
#[derive(Clone, Copy, Debug)]
struct Step {
    column_type: ColumnType,
    nullable: bool,
    /// Index into the builders, `None` to step over it.
    slot: Option<usize>,
}

/// Decodes rows of one table of one journal.
#[derive(Debug)]
pub(crate) struct RowDecoder<'a> {
    steps: Vec<Step>,
    wanted: Vec<Wanted<'a>>,
    /// Per wanted column, whether the journal has it.
    present: Vec<bool>,
}

impl<'a> RowDecoder<'a> {
    pub(crate) fn new(table: &WireTable, wanted: Vec<Wanted<'a>>) -> Self {
        let mut present = vec![false; wanted.len()];
        let mut steps = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let slot = wanted.iter().position(|wanted| {
                wanted.name == column.name && wanted.column_type == column.column_type
            });
            if let Some(present) = slot.and_then(|slot| present.get_mut(slot)) {
                *present = true;
            }
            let (column_type, nullable) = (column.column_type, column.nullable);
            steps.push(Step { column_type, nullable, slot });
        }
        Self { steps, wanted, present }
    }

    /// Builders for one batch.
    pub(crate) fn batch(&self) -> RowBatch<'_> {
        let builders = self.wanted.iter().map(|wanted| ColumnBuilder::new(wanted.column_type));
        RowBatch { decoder: self, builders: builders.collect(), rows: 0 }
    }
}

/// Columns under construction.
pub(crate) struct RowBatch<'a> {
    decoder: &'a RowDecoder<'a>,
    builders: Vec<ColumnBuilder>,
    rows: usize,
}

impl RowBatch<'_> {
    /// Decodes the rows of a frame. After an error the batch is of no use.
    pub(crate) fn decode(&mut self, payload: &[u8], rows: u32) -> Result<(), Malformed> {
        self.rows += rows as usize;
        if !self.decoder.present.contains(&true) {
            return Ok(());
        }
        let mut bytes = Bytes(payload);
        for _ in 0..rows {
            for step in &self.decoder.steps {
                match step.slot.and_then(|slot| self.builders.get_mut(slot)) {
                    Some(builder) => decode_value(*step, &mut bytes, builder)?,
                    None => skip_value(*step, &mut bytes)?,
                }
            }
        }
        bytes.end()
    }

    /// How many rows were decoded.
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// The wanted columns, in the order in which they were asked for.
    pub(crate) fn finish(mut self) -> Vec<ArrayRef> {
        let decoder = self.decoder;
        let builders = self.builders.iter_mut().zip(&decoder.wanted).zip(&decoder.present);
        let finish = |((builder, wanted), present): ((&mut ColumnBuilder, &Wanted<'_>), &bool)| {
            if *present {
                builder.finish()
            } else {
                columns::absent(wanted.column_type, wanted.nullable, self.rows)
            }
        };
        builders.map(finish).collect()
    }
}

/// The numbers of the rows of some frames.
pub(crate) fn eids<'a>(frames: impl Iterator<Item = &'a FrameHeader>) -> Int64Array {
    let numbers = frames.flat_map(|frame| frame.first_eid..=frame.last_eid());
    Int64Array::from_iter_values(numbers)
}

/// The clock offset of each row of some frames.
pub(crate) fn clock_offsets<'a>(frames: impl Iterator<Item = &'a FrameHeader>) -> Int64Array {
    let offsets =
        frames.flat_map(|frame| std::iter::repeat_n(frame.clock_offset_ns, frame.rows as usize));
    Int64Array::from_iter_values(offsets)
}

#[inline]
fn decode_value(
    step: Step,
    bytes: &mut Bytes<'_>,
    builder: &mut ColumnBuilder,
) -> Result<(), Malformed> {
    if step.nullable && !bytes.flag()? {
        builder.append_null();
        return Ok(());
    }
    match builder {
        ColumnBuilder::Bool(builder) => builder.append_value(bytes.flag()?),
        ColumnBuilder::I32(builder) => builder.append_value(narrow(bytes.zigzag()?)?),
        ColumnBuilder::I64(builder) => builder.append_value(bytes.zigzag()?),
        ColumnBuilder::U32(builder) => builder.append_value(narrow(bytes.varint()?)?),
        ColumnBuilder::U64(builder) => builder.append_value(bytes.varint()?),
        ColumnBuilder::F64(builder) => builder.append_value(bytes.f64()?),
        ColumnBuilder::Text(builder) => {
            let text = std::str::from_utf8(bytes.counted()?);
            builder.append_value(text.map_err(|_not_text| Malformed::Utf8)?);
        }
        ColumnBuilder::Blob(builder) => builder.append_value(bytes.counted()?),
    }
    Ok(())
}

#[inline]
fn skip_value(step: Step, bytes: &mut Bytes<'_>) -> Result<(), Malformed> {
    if step.nullable && !bytes.flag()? {
        return Ok(());
    }
    match step.column_type {
        ColumnType::Bool => bytes.u8().map(drop),
        ColumnType::I32 | ColumnType::I64 | ColumnType::U32 | ColumnType::U64 => {
            bytes.varint().map(drop)
        }
        ColumnType::F64 => bytes.take(8).map(drop),
        ColumnType::Text | ColumnType::Blob => bytes.counted().map(drop),
    }
}

fn narrow<T, U: TryFrom<T>>(value: T) -> Result<U, Malformed> {
    U::try_from(value).map_err(|_out_of_range| Malformed::Range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::columns::ColumnArray;
    use crate::fixture::{EVERYTHING, SMALL, Small};
    use crate::table::{EventTable, ValueRef};

    type Everything = (
        (bool, i32, u32, u64, f64, String, Vec<u8>, i64),
        (Option<bool>, Option<i32>, Option<i64>, Option<u32>),
        (Option<u64>, Option<f64>, Option<String>, Option<Vec<u8>>),
    );

    fn everything() -> impl Strategy<Value = Everything> {
        any::<Everything>()
    }

    fn wanted(columns: &[usize]) -> Vec<Wanted<'static>> {
        let stored: Vec<_> = EVERYTHING.stored().collect();
        let wanted = |index: &usize| {
            let (_, column, column_type) = stored[*index];
            Wanted { name: column.name, column_type, nullable: column.nullable }
        };
        columns.iter().map(wanted).collect()
    }

    /// Bit-equality, so that NaN equals itself.
    fn same(value: ValueRef<'_>, expected: ValueRef<'_>) -> bool {
        match (value, expected) {
            (ValueRef::F64(left), ValueRef::F64(right)) => left.to_bits() == right.to_bits(),
            (left, right) => left == right,
        }
    }

    fn check(row: &Everything, index: usize, value: ValueRef<'_>) -> bool {
        use ValueRef as V;
        let ((a, b, c, d, e, f, g, time), (h, i, j, k), (l, m, n, o)) = row;
        let expected = [
            V::Bool(*a),
            V::I32(*b),
            V::U32(*c),
            V::U64(*d),
            V::F64(*e),
            V::Text(f),
            V::Blob(g),
            V::I64(*time),
            h.map_or(V::Null, V::Bool),
            i.map_or(V::Null, V::I32),
            j.map_or(V::Null, V::I64),
            k.map_or(V::Null, V::U32),
            l.map_or(V::Null, V::U64),
            m.map_or(V::Null, V::F64),
            n.as_deref().map_or(V::Null, V::Text),
            o.as_deref().map_or(V::Null, V::Blob),
        ];
        same(value, expected[index])
    }

    proptest! {
        #[test]
        fn what_bincode_writes_is_read(
            rows in prop::collection::vec(everything(), 1..20),
            columns in prop::sample::subsequence((0..16).collect::<Vec<_>>(), 0..16),
        ) {
            let table = WireTable::of(EVERYTHING).unwrap();
            let decoder = RowDecoder::new(&table, wanted(&columns));
            let mut payload = Vec::new();
            for row in &rows {
                payload.extend(bincode::encode_to_vec(row, bincode::config::standard()).unwrap());
            }
            let mut batch = decoder.batch();
            prop_assert_eq!(batch.decode(&payload, rows.len() as u32), Ok(()));
            prop_assert_eq!(batch.rows(), rows.len());
            let arrays = batch.finish();
            for (array, (index, wanted)) in arrays.iter().zip(columns.iter().zip(wanted(&columns))) {
                let array = ColumnArray::of(array, wanted.column_type).unwrap();
                for (number, row) in rows.iter().enumerate() {
                    prop_assert!(check(row, *index, array.value(number)), "{}", wanted.name);
                }
            }
            // Any cut is an error, and none is a panic.
            if !columns.is_empty() {
                for cut in (0..payload.len()).step_by(1 + payload.len() / 32) {
                    let mut batch = decoder.batch();
                    prop_assert!(batch.decode(&payload[..cut], rows.len() as u32).is_err());
                }
            }
        }

        #[test]
        fn no_input_panics(payload in prop::collection::vec(any::<u8>(), 0..200), rows in 1u32..9) {
            let table = WireTable::of(EVERYTHING).unwrap();
            let decoder = RowDecoder::new(&table, wanted(&[3, 5, 14]));
            let _whatever = decoder.batch().decode(&payload, rows);
        }
    }

    #[test]
    fn columns_that_the_journal_lacks_are_null_or_empty() {
        let table = WireTable::of(SMALL).unwrap();
        let column = |name, column_type, nullable| Wanted { name, column_type, nullable };
        let wanted = vec![
            column("added", ColumnType::Text, true),
            column("pid", ColumnType::U32, false),
            column("required", ColumnType::Text, false),
            column("path", ColumnType::U64, false), // Another type than the journal's.
        ];
        let decoder = RowDecoder::new(&table, wanted);
        let mut payload = Vec::new();
        Small { time_ns: 1, pid: 300, path: Some("/bin/true".into()) }.encode(&mut payload);
        let mut batch = decoder.batch();
        batch.decode(&payload, 1).unwrap();
        let arrays = batch.finish();
        let types = [ColumnType::Text, ColumnType::U32, ColumnType::Text, ColumnType::U64];
        let values: Vec<_> = arrays
            .iter()
            .zip(types)
            .map(|(array, column_type)| ColumnArray::of(array, column_type).unwrap())
            .collect();
        assert_eq!(values[0].value(0), ValueRef::Null);
        assert_eq!(values[1].value(0), ValueRef::U32(300));
        assert_eq!(values[2].value(0), ValueRef::Text(""));
        assert_eq!(values[3].value(0), ValueRef::U64(0));
    }

    #[test]
    fn golden_row() {
        let mut payload = Vec::new();
        let row = Small { time_ns: -1, pid: 70_000, path: Some("/bin/sh".to_owned()) };
        row.encode(&mut payload);
        let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01fc7011010001072f62696e2f7368");
    }
}
