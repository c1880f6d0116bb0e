//! Rows grouped, or sorted, by columns that are almost all that SQLite reads of them.
//!
//! For `SELECT path, count(*) … GROUP BY path` SQLite needs equal paths adjacent, and would sort all
//! rows to have them so. Here the rows are only counted per path, and then each path is yielded as
//! often as it occurs; for `DISTINCT` once. When the order itself is wanted, the distinct values are
//! sorted.
//!
//! Rows yielded so have no number and no other columns. SQLite is hardly ever after these, but it
//! does not say so beforehand: a column with a comparison that it need not check, such as a bound
//! of the time, counts as read. When it asks for one after all, the rows are read once more, whole,
//! and the n-th row yielded of a group becomes the n-th of the group's rows. A `rowid` in a condition
//! is such a thing, too: where one row of a group was enough, from then on all of them are yielded,
//! as which of them pass depends on it.
//!
//! When the distinct values need more memory than there is, the first column's range is halved and
//! each half counted for itself, one after the other. Only values that cannot be divided so end in
//! an error.
//!
//! **Invariant:** a group's rows are adjacent, and each row matches the request.

use std::ops::Bound;
use std::sync::Arc;

use crate::schema::TableSchema;
use crate::sql::bounds::TimeRange;
use crate::sql::budget::Use;
use crate::sql::error::SqlError;
use crate::sql::event::{EventBlock, Layout};
use crate::sql::groups::{Groups, Value};
use crate::sql::order::Grouping;
use crate::sql::rows::{Block as _, Cell};
use crate::sql::statement::Context;
use crate::table::ValueRef;
use crate::{ColumnArray, Filter, FilterColumn, Order, Test};

/// A part of the first column's values.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    All,
    Null,
    /// Greater than the first and at most the second.
    Between(Option<Value>, Option<Value>),
}

/// What is to be grouped.
pub(super) struct Task {
    pub(super) schema: &'static TableSchema,
    /// Of the columns that are grouped by alone, in their order.
    pub(super) keys: Arc<Layout>,
    /// Of all columns that SQLite may ask for.
    pub(super) whole: Arc<Layout>,
    pub(super) grouping: Grouping,
    pub(super) range: TimeRange,
    pub(super) filters: Vec<Filter>,
}

/// Rows of a scan, grouped.
pub(super) struct Grouped {
    context: Arc<Context>,
    task: Task,
    /// Parts still to be counted, the next one last.
    parts: Vec<Part>,
    part: Part,
    groups: Groups,
    /// Memory taken for the groups, in bytes.
    charged: usize,
    /// The groups to yield, the current one last.
    order: Vec<u32>,
    whole: Option<Whole>,
}

/// The rows of the current part, whole.
struct Whole {
    blocks: Vec<EventBlock>,
    /// Block and row, group by group.
    places: Vec<(u32, u32)>,
    /// Per group, where its rows begin in `places`.
    starts: Vec<usize>,
    charged: usize,
}

impl Grouped {
    /// Counts; at the first group then. `None` when there are no rows.
    pub(super) fn begin(context: Arc<Context>, task: Task) -> Result<Option<Self>, SqlError> {
        let groups = Groups::new(task.grouping.columns.len());
        let mut grouped = Self {
            context,
            task,
            parts: vec![Part::All],
            part: Part::All,
            groups,
            charged: 0,
            order: Vec::new(),
            whole: None,
        };
        Ok(grouped.next_part()?.then_some(grouped))
    }

    /// How often the current group is yielded. It grows to all its rows once [`Self::row`] is asked.
    pub(super) fn times(&self) -> u64 {
        match self.order.last() {
            Some(_) if self.task.grouping.once && self.whole.is_none() => 1,
            Some(group) => self.groups.occurs(*group),
            None => 0,
        }
    }

    /// Goes to the next group; false when there is none.
    pub(super) fn next(&mut self) -> Result<bool, SqlError> {
        self.order.pop();
        if self.order.is_empty() { self.next_part() } else { Ok(true) }
    }

    /// Counts the next part that has rows; false when there is none.
    fn next_part(&mut self) -> Result<bool, SqlError> {
        while let Some(part) = self.parts.pop() {
            self.part = part;
            if !self.count()? {
                self.divide()?;
                continue;
            }
            let groups = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
            self.order = (0..groups).filter(|group| self.groups.occurs(*group) > 0).collect();
            if self.task.grouping.sorted {
                let columns = &self.task.grouping.columns;
                let descending: Vec<bool> = columns.iter().map(|by| by.descending).collect();
                self.order.sort_unstable_by(|left, right| {
                    self.groups.compare(*right, *left, &descending)
                });
            }
            if !self.order.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts the current part; false when its values need too much memory.
    fn count(&mut self) -> Result<bool, SqlError> {
        self.let_go();
        let request = self.task.keys.request(self.task.range, self.filters(), Order::Any);
        let table = self.task.schema.name;
        for batch in self.context.scan(self.task.schema, &request)? {
            self.context.check_interrupt()?;
            let batch = batch.map_err(|source| self.context.read_error(table, source))?;
            let columns: Vec<&ColumnArray> = batch.columns().iter().collect();
            self.groups.count(&columns);
            let more = self.groups.bytes().saturating_sub(self.charged);
            if !self.context.take(Use::Groups, more) {
                return Ok(false);
            }
            self.charged += more;
        }
        Ok(true)
    }

    /// Forgets what was counted.
    fn let_go(&mut self) {
        let whole = self.whole.take().map_or(0, |whole| whole.charged);
        self.context.give_back(Use::Rows, whole);
        self.context.give_back(Use::Groups, std::mem::take(&mut self.charged));
        self.groups = Groups::new(self.task.grouping.columns.len());
    }

    /// Puts two halves in the place of the current part.
    fn divide(&mut self) -> Result<(), SqlError> {
        let mut values = self.groups.first().to_vec();
        values.sort_unstable();
        let middle = values.len().saturating_sub(1) / 2;
        if values.len() < 2 && self.part != Part::All {
            return Err(self.context.too_much());
        }
        let middle = values.into_iter().nth(middle);
        let (from, to) = match std::mem::replace(&mut self.part, Part::Null) {
            Part::Between(from, to) => (from, to),
            Part::All => (None, None),
            Part::Null => return Err(self.context.too_much()),
        };
        let first = from.is_none() && to.is_none();
        let mut parts = vec![Part::Between(from, middle.clone()), Part::Between(middle, to)];
        if first {
            parts.insert(0, Part::Null);
        }
        let descending = self.task.grouping.columns.first().is_some_and(|by| by.descending);
        if !descending {
            parts.reverse();
        }
        self.parts.append(&mut parts);
        Ok(())
    }

    /// The filters of the request and of the part.
    fn filters(&self) -> Vec<Filter> {
        let mut filters = self.task.filters.clone();
        let first = self.task.grouping.columns.first().and_then(|by| by.column);
        let test = match &self.part {
            Part::All => None,
            Part::Null => Some(Test::IsNull),
            Part::Between(from, to) => between(from.as_ref(), to.as_ref()),
        };
        if let (Some(column), Some(test)) = (first, test) {
            filters.push(Filter { column: FilterColumn::Stored(column), test });
        }
        filters
    }

    /// The value of a column that is grouped by.
    pub(super) fn key(&self, column: usize) -> Option<Cell<'_>> {
        let columns = &self.task.grouping.columns;
        let place = columns.iter().position(|by| by.column == Some(column))?;
        let value = self.order.last().and_then(|group| self.groups.value(*group, place));
        Some(match value {
            Some(Value::Integer(value)) => Cell::Integer(*value),
            Some(Value::Text(text)) => Cell::Value(ValueRef::Text(text)),
            None => Cell::Value(ValueRef::Null),
        })
    }

    /// The block and row that stand for what is yielded of the current group for the n-th time.
    ///
    /// # Errors
    /// When the rows cannot be read or kept.
    pub(super) fn row(&mut self, nth: usize) -> Result<Option<(&EventBlock, usize)>, SqlError> {
        let group = self.order.last().copied().unwrap_or(0);
        if self.whole.is_none() {
            self.whole = Some(self.read_whole()?);
        }
        Ok(self.whole.as_ref().and_then(|whole| {
            let start = *whole.starts.get(group as usize)?;
            let (block, row) = *whole.places.get(start.checked_add(nth)?)?;
            Some((whole.blocks.get(block as usize)?, row as usize))
        }))
    }

    /// Reads the rows of the current part, whole.
    fn read_whole(&mut self) -> Result<Whole, SqlError> {
        let request = self.task.whole.request(self.task.range, self.filters(), Order::Any);
        let (mut blocks, mut groups) = (Vec::<EventBlock>::new(), Vec::<u32>::new());
        let (mut ends, mut charged) = (Vec::new(), 0);
        let table = self.task.schema.name;
        for batch in self.context.scan(self.task.schema, &request)? {
            self.context.check_interrupt()?;
            let batch = batch.map_err(|source| self.context.read_error(table, source))?;
            let block = EventBlock::new(batch, Arc::clone(&self.task.whole));
            let more = block.bytes(blocks.last()) + block.len() * PLACE_BYTES;
            if !self.context.take(Use::Rows, more) {
                self.context.give_back(Use::Rows, charged);
                return Err(self.context.too_much());
            }
            charged += more;
            let columns = self.task.grouping.columns.iter();
            let columns: Option<Vec<_>> =
                columns.map(|by| block.stored_column(by.column?)).collect();
            groups.extend_from_slice(self.groups.numbers(&columns.unwrap_or_default()));
            blocks.push(block);
            ends.push(groups.len());
        }
        let starts = starts(&groups, self.groups.len());
        let places = places(&groups, &ends, starts.clone());
        Ok(Whole { blocks, places, starts, charged })
    }
}

impl Drop for Grouped {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Memory of a row's place and of its group while places are found, in bytes.
const PLACE_BYTES: usize = 12;

/// Where the rows of each group begin when all are put group by group.
fn starts(groups: &[u32], count: usize) -> Vec<usize> {
    let mut starts = vec![0_usize; count];
    for group in groups {
        if let Some(start) = starts.get_mut(*group as usize) {
            *start += 1;
        }
    }
    let mut before = 0;
    for start in &mut starts {
        before += std::mem::replace(start, before);
    }
    starts
}

/// Block and row of each row, group by group; `ends` says where blocks end.
fn places(groups: &[u32], ends: &[usize], mut next: Vec<usize>) -> Vec<(u32, u32)> {
    let mut places = vec![(0, 0); groups.len()];
    let mut from = 0;
    for (block, end) in (0_u32..).zip(ends) {
        for (row, group) in (0_u32..).zip(groups.get(from..*end).unwrap_or_default()) {
            let Some(next) = next.get_mut(*group as usize) else { continue };
            if let Some(place) = places.get_mut(*next) {
                *place = (block, row);
            }
            *next += 1;
        }
        from = *end;
    }
    places
}

/// The test of values greater than one and at most another.
fn between(from: Option<&Value>, to: Option<&Value>) -> Option<Test> {
    let of_text = matches!(from.or(to)?, Value::Text(_));
    if of_text {
        let text = |value: &Value| match value {
            Value::Text(text) => text.as_ref().into(),
            Value::Integer(_) => Box::from(""),
        };
        let from = from.map_or(Bound::Unbounded, |from| Bound::Excluded(text(from)));
        let to = to.map_or(Bound::Unbounded, |to| Bound::Included(text(to)));
        return Some(Test::TextRange(from, to));
    }
    let integer = |value: &Value| if let Value::Integer(value) = value { *value } else { 0 };
    // The greatest number is nobody's lower end: a part above it would be empty.
    let from = from.map_or(i64::MIN, |from| integer(from).saturating_add(1));
    Some(Test::IntegerRange(from, to.map_or(i64::MAX, integer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_put_group_by_group() {
        let groups = [2, 0, 2, 2, 0];
        let starts = starts(&groups, 4);
        assert_eq!(starts, [0, 2, 2, 5]);
        let places = places(&groups, &[2, 5], starts);
        assert_eq!(places, [(0, 1), (1, 2), (0, 0), (1, 0), (1, 1)]);
    }

    #[test]
    fn parts_do_not_overlap() {
        let one = Value::Integer(1);
        assert_eq!(between(None, Some(&one)), Some(Test::IntegerRange(i64::MIN, 1)));
        assert_eq!(between(Some(&one), None), Some(Test::IntegerRange(2, i64::MAX)));
        let text = Value::Text("a".into());
        let expected = Test::TextRange(Bound::Excluded("a".into()), Bound::Unbounded);
        assert_eq!(between(Some(&text), None), Some(expected));
    }
}
