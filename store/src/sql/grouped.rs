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
//! each half counted for itself, one after the other; where one value of it is left, the next
//! column's is. So memory is enough however many the values are, and time is what they cost.
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

/// Part of a column's values.
#[derive(Clone, Debug, PartialEq)]
enum Slice {
    Null,
    /// Those between two, and not null.
    Between(Bound<Value>, Bound<Value>),
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
    /// Parts still to be counted, the next one last: a slice of each column that was divided, of
    /// all of which but the last one value is left.
    parts: Vec<Vec<Slice>>,
    part: Vec<Slice>,
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
            parts: vec![Vec::new()],
            part: Vec::new(),
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

    /// Puts smaller parts in the place of the current one.
    fn divide(&mut self) -> Result<(), SqlError> {
        let mut pinned = std::mem::take(&mut self.part);
        let divided = pinned.pop_if(|slice| !slice.is_one());
        let Some(by) = self.task.grouping.columns.get(pinned.len()) else {
            return Err(self.context.too_much());
        };
        let mut seen = self.groups.values(pinned.len()).to_vec();
        seen.sort_unstable();
        let mut slices = match divided {
            Some(slice) => slice.divide(&seen),
            None => {
                let all = Slice::Between(Bound::Unbounded, Bound::Unbounded);
                vec![Slice::Null, all]
            }
        };
        if slices.is_empty() {
            return Err(self.context.too_much());
        }
        if !by.descending {
            slices.reverse();
        }
        self.parts.extend(slices.into_iter().map(|slice| {
            let mut part = pinned.clone();
            part.push(slice);
            part
        }));
        Ok(())
    }

    /// The filters of the request and of the part.
    fn filters(&self) -> Vec<Filter> {
        let mut filters = self.task.filters.clone();
        for (by, slice) in self.task.grouping.columns.iter().zip(&self.part) {
            let Some(column) = by.column else { continue };
            filters.push(Filter { column: FilterColumn::Stored(column), test: slice.test() });
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

impl Slice {
    /// Whether one value is left.
    fn is_one(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Between(Bound::Included(from), Bound::Included(to)) => from == to,
            Self::Between(..) => false,
        }
    }

    /// Smaller slices, in order, of one in which these values were seen, in order; none when it
    /// cannot be divided.
    fn divide(self, seen: &[Value]) -> Vec<Self> {
        let Self::Between(from, to) = self else { return Vec::new() };
        let Some(middle) = seen.get(seen.len().saturating_sub(1) / 2) else { return Vec::new() };
        let above = Self::Between(Bound::Excluded(middle.clone()), to);
        if seen.len() > 1 {
            return vec![Self::Between(from, Bound::Included(middle.clone())), above];
        }
        let below = Self::Between(from, Bound::Excluded(middle.clone()));
        let one = Self::Between(Bound::Included(middle.clone()), Bound::Included(middle.clone()));
        vec![below, one, above].into_iter().filter(|slice| !slice.is_empty()).collect()
    }

    /// Whether it is certain that no value is within.
    fn is_empty(&self) -> bool {
        match self.test() {
            Test::IntegerRange(from, to) => from > to,
            Test::TextRange(
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from > to,
            _ => false,
        }
    }

    fn test(&self) -> Test {
        let Self::Between(from, to) = self else { return Test::IsNull };
        let sample = match (from, to) {
            (Bound::Included(value) | Bound::Excluded(value), _)
            | (_, Bound::Included(value) | Bound::Excluded(value)) => value,
            (Bound::Unbounded, Bound::Unbounded) => return Test::IsNotNull,
        };
        match sample {
            Value::Text(_) => {
                let text = |value: &Value| match value {
                    Value::Text(text) => text.as_ref().into(),
                    Value::Integer(_) => Box::from(""),
                };
                Test::TextRange(from.as_ref().map(text), to.as_ref().map(text))
            }
            Value::Integer(_) => {
                let integer = |value: &Value| match value {
                    Value::Integer(value) => *value,
                    Value::Text(_) => 0,
                };
                let from = match from.as_ref().map(integer) {
                    Bound::Unbounded => Some(i64::MIN),
                    Bound::Included(from) => Some(from),
                    Bound::Excluded(from) => from.checked_add(1),
                };
                let to = match to.as_ref().map(integer) {
                    Bound::Unbounded => Some(i64::MAX),
                    Bound::Included(to) => Some(to),
                    Bound::Excluded(to) => to.checked_sub(1),
                };
                let (from, to) = from.zip(to).unwrap_or((i64::MAX, i64::MIN));
                Test::IntegerRange(from, to)
            }
        }
    }
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

    const ALL: Slice = Slice::Between(Bound::Unbounded, Bound::Unbounded);

    fn tests(slices: &[Slice]) -> Vec<Test> {
        slices.iter().map(Slice::test).collect()
    }

    #[test]
    fn parts_do_not_overlap_and_leave_nothing_out() {
        let integers: Vec<Value> = [1, 2, 5].map(Value::Integer).to_vec();
        let halves = ALL.divide(&integers);
        let expected = [Test::IntegerRange(i64::MIN, 2), Test::IntegerRange(3, i64::MAX)];
        assert_eq!(tests(&halves), expected);
        let third = halves[0].clone().divide(&integers[1..2]);
        let expected = [Test::IntegerRange(i64::MIN, 1), Test::IntegerRange(2, 2)];
        assert_eq!(tests(&third), expected, "none is between 2 and 2");
        assert_eq!((third[0].is_one(), third[1].is_one()), (false, true));
        let text = Value::Text("a".into());
        let texts = ALL.divide(std::slice::from_ref(&text));
        let a = || Box::from("a");
        let expected = [
            Test::TextRange(Bound::Unbounded, Bound::Excluded(a())),
            Test::TextRange(Bound::Included(a()), Bound::Included(a())),
            Test::TextRange(Bound::Excluded(a()), Bound::Unbounded),
        ];
        assert_eq!(tests(&texts), expected);
    }

    #[test]
    fn the_ends_of_the_integers_are_no_trouble() {
        for (value, kept) in [(i64::MAX, 0), (i64::MIN, 1)] {
            let slices = ALL.divide(&[Value::Integer(value)]);
            let [one, other] = slices.as_slice() else { panic!("{slices:?}") };
            let single = if kept == 1 { one } else { other };
            assert_eq!(single.test(), Test::IntegerRange(value, value));
        }
    }

    #[test]
    fn what_is_one_value_is_not_divided() {
        let one =
            Slice::Between(Bound::Included(Value::Integer(1)), Bound::Included(Value::Integer(1)));
        assert!(one.is_one() && Slice::Null.is_one());
        assert_eq!(Slice::Null.divide(&[]), []);
    }
}
