//! Putting the rows of several batches into one order.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::{Array, AsArray, Int32Array};
use arrow::compute::interleave;
use arrow::error::ArrowError;

use crate::columns::ColumnArray;
use crate::read::batch::{BootIds, Eids, ScanBatch};
use crate::read::filter::Order;
use crate::table::ValueRef;

/// A row: the index of its batch, and its place in that.
pub(super) type Place = (usize, usize);

/// The rows of all batches, by time and number, in batches of at most `rows_max`.
pub(super) fn sorted(
    batches: Vec<ScanBatch>,
    order: Order,
    rows_max: usize,
) -> Result<VecDeque<ScanBatch>, ArrowError> {
    let mut places: Vec<(i64, i64, Place)> = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let (Some(times), Some(eids)) = (&batch.time_ns, batch.eid()) else {
            return Err(different("times or numbers"));
        };
        let keys = times.values().iter().zip(eids.values());
        places.extend(keys.enumerate().map(|(row, (time, eid))| (*time, *eid, (index, row))));
    }
    if order == Order::Ascending && batches.len() == 1 && places.is_sorted() {
        return Ok(batches.into());
    }
    places.sort_unstable();
    if order == Order::Descending {
        places.reverse();
    }
    let places: Vec<Place> = places.into_iter().map(|(_, _, place)| place).collect();
    places.chunks(rows_max).map(|places| gather(&batches, places)).collect()
}

/// The rows at some places.
///
/// # Errors
/// When the batches have not the same columns, no number is to be had, or text is longer than a
/// batch can hold.
pub(super) fn gather(batches: &[ScanBatch], places: &[Place]) -> Result<ScanBatch, ArrowError> {
    if let Some(rows) = consecutive(places)
        && let [only] = batches
    {
        return Ok(only.slice(rows));
    }
    let count = batches.first().map_or(0, |batch| batch.columns.len());
    let mut columns = Vec::with_capacity(count);
    for index in 0..count {
        let parts: Option<Vec<_>> = batches.iter().map(|batch| batch.columns.get(index)).collect();
        columns.push(gather_column(&parts.ok_or_else(|| different("columns"))?, places)?);
    }
    let int64 = |part: fn(&ScanBatch) -> Option<&dyn Array>| {
        let Some(parts) = batches.iter().map(part).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        interleave(&parts, places).map(|array| Some(array.as_primitive().clone()))
    };
    let eids = int64(|batch| batch.eid().map(|array| array as _))?;
    Ok(ScanBatch {
        rows: places.len(),
        columns,
        time_ns: int64(|batch| batch.time_ns.as_ref().map(|array| array as _))?,
        eids: Eids::Read(eids.ok_or_else(|| different("numbers"))?),
        clock_offset_ns: int64(|batch| batch.clock_offset_ns.as_ref().map(|array| array as _))?,
        boot: gather_boot_ids(batches, places),
    })
}

fn different(what: &str) -> ArrowError {
    ArrowError::SchemaError(format!("batches of one scan have not all the same {what}"))
}

/// The rows when they follow each other in one batch.
fn consecutive(places: &[Place]) -> Option<Range<usize>> {
    let (first, last) = (places.first()?, places.last()?);
    let follow = |pair: &[Place]| match pair {
        [(_, one), (_, next)] => one + 1 == *next,
        _ => false,
    };
    let one_batch = places.iter().all(|(batch, _)| *batch == first.0);
    (one_batch && places.windows(2).all(follow)).then(|| first.1..last.1 + 1)
}

/// Rows of a column. Text whose dictionary is not one and the same loses it.
fn gather_column(parts: &[&ColumnArray], places: &[Place]) -> Result<ColumnArray, ArrowError> {
    let same = |part: &&ColumnArray| match (parts.first(), part) {
        (
            Some(ColumnArray::TextDictionary { values: first, .. }),
            ColumnArray::TextDictionary { values, .. },
        ) => first.to_data().ptr_eq(&values.to_data()),
        _ => false,
    };
    if let Some(ColumnArray::TextDictionary { values, .. }) = parts.first()
        && parts.iter().all(same)
    {
        let keys: Vec<&dyn Array> = parts.iter().map(|part| part.as_array()).collect();
        let keys = interleave(&keys, places)?.as_primitive().clone();
        return Ok(ColumnArray::TextDictionary { keys, values: values.clone() });
    }
    if parts.iter().any(|part| matches!(part, ColumnArray::TextDictionary { .. })) {
        return Ok(ColumnArray::Text(
            places
                .iter()
                .map(|(part, row)| match parts.get(*part)?.value(*row) {
                    ValueRef::Text(text) => Some(text),
                    _ => None,
                })
                .collect(),
        ));
    }
    let arrays: Vec<&dyn Array> = parts.iter().map(|part| part.as_array()).collect();
    let first = parts.first().map(|part| part.column_type());
    let joined = interleave(&arrays, places)?;
    first.and_then(|kind| ColumnArray::of(&joined, kind)).ok_or_else(|| different("types"))
}

fn gather_boot_ids(batches: &[ScanBatch], places: &[Place]) -> Option<BootIds> {
    let mut ids = Vec::new();
    let mut starts = Vec::with_capacity(batches.len());
    for batch in batches {
        starts.push(ids.len());
        ids.extend_from_slice(&batch.boot.as_ref()?.ids);
    }
    let key = |(part, row): &Place| {
        let boot = batches.get(*part)?.boot.as_ref()?;
        let own = boot.keys.as_ref().map_or(0, |keys| keys.value(*row));
        i32::try_from(*starts.get(*part)?).ok()?.checked_add(own)
    };
    let keys: Option<Vec<i32>> = places.iter().map(key).collect();
    Some(BootIds { ids, keys: Some(Int32Array::from(keys?)) })
}
