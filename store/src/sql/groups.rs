//! The distinct values of some columns and how often each combination occurs.
//!
//! Values get numbers in the order in which they are first seen, per column; 0 is null. Where a
//! column comes with a dictionary, each of its entries is looked up once per dictionary, so that a
//! row costs an addition. Combinations of several columns are numbered pair by pair.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{Array, Int32Array, StringArray};

use crate::ColumnArray;
use crate::sql::hash;
use crate::table::ValueRef;

/// Memory of a number, its place in a map and its count, in bytes.
const NUMBER_BYTES: usize = 56;

/// Memory of a text beside its bytes.
const TEXT_BYTES: usize = 112;

/// Not looked up yet.
const UNKNOWN: u32 = u32::MAX;

/// The number of null.
const NULL: u32 = 0;

/// The values of one column.
pub(super) struct Values {
    numbers: HashMap<i64, u32, RandomState>,
    texts: HashMap<Arc<str>, u32, RandomState>,
    /// By number, from 1.
    values: Vec<Value>,
    /// The dictionary that was looked up last, and the numbers of its entries.
    dictionary: Option<(StringArray, Vec<u32>)>,
    bytes: usize,
}

/// A value that is grouped by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Integer(i64),
    Text(Arc<str>),
}

impl Values {
    fn new() -> Self {
        Self {
            numbers: HashMap::with_hasher(hash::state()),
            texts: HashMap::with_hasher(hash::state()),
            values: Vec::new(),
            dictionary: None,
            bytes: 0,
        }
    }

    /// By its number; `None` for null.
    pub(super) fn get(&self, number: u32) -> Option<&Value> {
        self.values.get((number as usize).checked_sub(1)?)
    }

    /// All values, without null.
    pub(super) fn all(&self) -> &[Value] {
        &self.values
    }

    fn add(&mut self, value: Value, bytes: usize) -> u32 {
        self.values.push(value);
        self.bytes += bytes;
        u32::try_from(self.values.len()).unwrap_or(UNKNOWN)
    }

    fn integer(&mut self, value: i64) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = self.add(Value::Integer(value), NUMBER_BYTES);
        self.numbers.insert(value, number);
        number
    }

    fn text(&mut self, value: &str) -> u32 {
        if let Some(number) = self.texts.get(value) {
            return *number;
        }
        let text: Arc<str> = value.into();
        let number = self.add(Value::Text(Arc::clone(&text)), TEXT_BYTES + value.len());
        self.texts.insert(text, number);
        number
    }

    /// Puts the number of each row's value into `out`.
    fn numbers_of(&mut self, column: &ColumnArray, out: &mut Vec<u32>) {
        out.clear();
        out.reserve(column.len());
        if let ColumnArray::TextDictionary { keys, values } = column {
            return self.dictionary_numbers(keys, values, out);
        }
        let mut last = (ValueRef::Null, NULL);
        for row in 0..column.len() {
            let value = column.value(row);
            if value != last.0 {
                last = (value, self.number(value));
            }
            out.push(last.1);
        }
    }

    fn number(&mut self, value: ValueRef<'_>) -> u32 {
        match value {
            ValueRef::Text(text) => self.text(text),
            ValueRef::Bool(value) => self.integer(value.into()),
            ValueRef::I32(value) => self.integer(value.into()),
            ValueRef::I64(value) => self.integer(value),
            ValueRef::U32(value) => self.integer(value.into()),
            ValueRef::U64(value) => self.integer(value.cast_signed()),
            ValueRef::Null | ValueRef::F64(_) | ValueRef::Blob(_) => NULL,
        }
    }

    fn dictionary_numbers(&mut self, keys: &Int32Array, values: &StringArray, out: &mut Vec<u32>) {
        let same = |known: &StringArray| {
            known.len() == values.len()
                && known.values().ptr_eq(values.values())
                && known.offsets().ptr_eq(values.offsets())
        };
        let mut numbers = match self.dictionary.take() {
            Some((known, numbers)) if same(&known) => numbers,
            _ => vec![UNKNOWN; values.len()],
        };
        for row in 0..keys.len() {
            let key = usize::try_from(keys.value(row)).unwrap_or(usize::MAX);
            if keys.is_null(row) || key >= values.len() {
                out.push(NULL);
                continue;
            }
            let Some(number) = numbers.get_mut(key) else { continue };
            if *number == UNKNOWN {
                *number = if values.is_null(key) { NULL } else { self.text(values.value(key)) };
            }
            out.push(*number);
        }
        self.dictionary = Some((values.clone(), numbers));
    }
}

/// Combinations of values and their counts.
pub(super) struct Groups {
    columns: Vec<Values>,
    /// Per column after the first, the numbers of the pairs of a combination of the columns before
    /// it and one of its values.
    pairs: Vec<Pairs>,
    /// Per combination.
    counts: Vec<u64>,
    /// One column's numbers, and those of the combinations, of the block at hand.
    scratch: (Vec<u32>, Vec<u32>),
}

#[derive(Default)]
struct Pairs {
    numbers: HashMap<(u32, u32), u32, RandomState>,
    pairs: Vec<(u32, u32)>,
}

impl Pairs {
    fn number(&mut self, pair: (u32, u32)) -> u32 {
        let next = u32::try_from(self.pairs.len()).unwrap_or(UNKNOWN);
        *self.numbers.entry(pair).or_insert_with(|| {
            self.pairs.push(pair);
            next
        })
    }
}

impl Groups {
    /// No rows yet, of so many columns.
    pub(super) fn new(columns: usize) -> Self {
        let pairs = (1..columns)
            .map(|_| Pairs { numbers: HashMap::with_hasher(hash::state()), pairs: Vec::new() });
        Self {
            columns: (0..columns).map(|_| Values::new()).collect(),
            pairs: pairs.collect(),
            counts: Vec::new(),
            scratch: Default::default(),
        }
    }

    /// The number of each row's combination in a block; new combinations get one.
    pub(super) fn numbers(&mut self, block: &[&ColumnArray]) -> &[u32] {
        let (numbers, combined) = &mut self.scratch;
        combined.clear();
        for (index, (values, column)) in self.columns.iter_mut().zip(block).enumerate() {
            let Some(pairs) = index.checked_sub(1).and_then(|index| self.pairs.get_mut(index))
            else {
                values.numbers_of(column, combined);
                continue;
            };
            values.numbers_of(column, numbers);
            let mut last = None;
            for (combination, number) in combined.iter_mut().zip(&*numbers) {
                let pair = (*combination, *number);
                let number = match last {
                    Some((known, number)) if known == pair => number,
                    _ => pairs.number(pair),
                };
                last = Some((pair, number));
                *combination = number;
            }
        }
        combined
    }

    /// Counts the rows of a block.
    pub(super) fn count(&mut self, block: &[&ColumnArray]) {
        self.numbers(block);
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(self.len(), 0);
        for number in &self.scratch.1 {
            if let Some(count) = counts.get_mut(*number as usize) {
                *count += 1;
            }
        }
        self.counts = counts;
    }

    /// One more than the largest number of a combination.
    pub(super) fn len(&self) -> usize {
        match (self.pairs.last(), self.columns.first()) {
            (Some(pairs), _) => pairs.pairs.len(),
            (None, Some(values)) => values.values.len() + 1,
            (None, None) => 0,
        }
    }

    /// How often a combination occurs.
    pub(super) fn occurs(&self, group: u32) -> u64 {
        self.counts.get(group as usize).copied().unwrap_or(0)
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let pairs: usize = self.pairs.iter().map(|pairs| pairs.pairs.len() * NUMBER_BYTES).sum();
        pairs + self.columns.iter().map(|values| values.bytes).sum::<usize>()
    }

    /// The values of a column, without null.
    pub(super) fn values(&self, column: usize) -> &[Value] {
        self.columns.get(column).map_or(&[], Values::all)
    }

    /// The value of a column in a combination; `None` for null.
    pub(super) fn value(&self, group: u32, column: usize) -> Option<&Value> {
        let mut number = group;
        // From the last pair back to the one that ends with the column.
        for index in (column.max(1)..self.columns.len()).rev() {
            let (before, last) = *self.pairs.get(index - 1)?.pairs.get(number as usize)?;
            number = if index == column { last } else { before };
        }
        self.columns.get(column)?.get(number)
    }

    /// How two combinations are ordered; per column, whether it descends. Null comes first.
    pub(super) fn compare(&self, left: u32, right: u32, descending: &[bool]) -> Ordering {
        for (column, descending) in descending.iter().enumerate() {
            let order = self.value(left, column).cmp(&self.value(right, column));
            let order = if *descending { order.reverse() } else { order };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::UInt32Array;

    use super::*;

    fn text(values: &[Option<&str>]) -> ColumnArray {
        ColumnArray::Text(values.iter().copied().collect())
    }

    fn dictionary(keys: &[Option<i32>], values: &[&str]) -> ColumnArray {
        ColumnArray::TextDictionary {
            keys: keys.iter().copied().collect(),
            values: values.iter().copied().map(Some).collect(),
        }
    }

    fn found(groups: &Groups, columns: usize) -> Vec<(Vec<Option<Value>>, u64)> {
        let mut all: Vec<_> = (0..u32::try_from(groups.len()).unwrap())
            .filter(|group| groups.occurs(*group) > 0)
            .map(|group| {
                let values = (0..columns).map(|column| groups.value(group, column).cloned());
                (values.collect(), groups.occurs(group))
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn plain_text_and_dictionaries_are_one_set_of_values() {
        let mut groups = Groups::new(1);
        groups.count(&[&text(&[Some("a"), None, Some("b"), Some("b")])]);
        groups.count(&[&dictionary(&[Some(1), Some(0), None, Some(1)], &["c", "a"])]);
        let other = dictionary(&[Some(0)], &["b"]);
        groups.count(&[&other]);
        groups.count(&[&other]);
        let value = |text: &str| vec![Some(Value::Text(text.into()))];
        let expected = [(vec![None], 2), (value("a"), 3), (value("b"), 4), (value("c"), 1)];
        assert_eq!(found(&groups, 1), expected);
    }

    #[test]
    fn combinations_are_told_apart_and_ordered() {
        let mut groups = Groups::new(3);
        let numbers = ColumnArray::U32(UInt32Array::from(vec![1, 2, 1, 1]));
        let first = text(&[Some("x"), Some("x"), None, Some("x")]);
        let flags = ColumnArray::Bool(vec![Some(true), None, Some(true), Some(true)].into());
        groups.count(&[&first, &numbers, &flags]);
        let (x, one, two) = (Value::Text("x".into()), Value::Integer(1), Value::Integer(2));
        let yes = Some(Value::Integer(1));
        let expected = [
            (vec![None, Some(one.clone()), yes.clone()], 1),
            (vec![Some(x.clone()), Some(one), yes], 2),
            (vec![Some(x), Some(two), None], 1),
        ];
        assert_eq!(found(&groups, 3), expected);
        let mut order: Vec<u32> = vec![0, 1, 2];
        order.sort_by(|left, right| groups.compare(*left, *right, &[false, true, false]));
        assert_eq!(order, [2, 1, 0], "null, then x with 2, then x with 1");
        assert!(groups.bytes() > 0);
    }
}
