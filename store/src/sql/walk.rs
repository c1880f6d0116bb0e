//! A cursor's way through the rows of one scan.
//!
//! Within a block the cursor only counts; which rows match was settled for the whole block by the
//! store's scan.

use std::cell::RefCell;
use std::sync::Arc;

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::types::Value;
use rusqlite::vtab::Filters;

use crate::limits::IN_VALUES_MAX;
use crate::schema::TableSchema;
use crate::sql::bounds::TimeRange;
use crate::sql::budget::Use;
use crate::sql::direct::Stream;
use crate::sql::error::SqlError;
use crate::sql::event::{EventBlock, Layout};
use crate::sql::grouped::{Grouped, Task};
use crate::sql::kept::{Kept, Wants};
use crate::sql::operator::Operator;
use crate::sql::order::{Grouping, Shape};
use crate::sql::plan::{Plan, Term, column_index, name};
use crate::sql::repeated::{Argument, Near, Request, owned};
use crate::sql::rows::{Block, Cell, KeyKind, Wanted};
use crate::sql::state::StateTableEntry;
use crate::sql::statement::{Context, Repeatable};
use crate::sql::values::{self, Asked, Kind};
use crate::table::ValueRef;
use crate::{ColumnArray, Filter, Order, Scan};

/// What a virtual table shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown {
    /// A table of events.
    Events(&'static TableSchema),
    /// A state table.
    State(&'static StateTableEntry),
}

impl Shown {
    pub(super) const fn schema(self) -> &'static TableSchema {
        match self {
            Self::Events(schema) => schema,
            Self::State(entry) => entry.schema(),
        }
    }
}

/// A cursor.
pub(super) struct Walk {
    shown: Shown,
    context: Arc<Context>,
    prepared: Option<Prepared>,
    rows: Rows,
    /// The current row's place in a streamed block or a group.
    row: usize,
    /// How many rows follow in that block or group.
    left: usize,
    /// Kept rows that answered the scan before this one.
    near: Option<Near>,
}

/// A plan made ready. A cursor has the same one at each of its scans.
struct Prepared {
    text: Arc<str>,
    plan: Plan,
    layout: Arc<Layout>,
    /// The terms that test columns, in the order of the arguments.
    tests: Vec<Tested>,
}

/// A term that tests a column.
#[derive(Clone, Copy)]
struct Tested {
    column: usize,
    operator: Operator,
    kind: Kind,
}

impl Tested {
    /// How rows with its value are looked up, if they are.
    fn key(&self) -> Option<KeyKind> {
        if self.operator == Operator::Equal { self.kind.key() } else { None }
    }
}

/// Where the rows come from.
enum Rows {
    /// There are none, or no more.
    End,
    /// Streamed from the store.
    Streamed(Box<Streamed>),
    /// Kept rows.
    Kept(Span),
    /// Some kept rows; the current one is the last.
    Found { kept: Arc<Kept>, found: Vec<u32> },
    /// Rows grouped.
    Grouped(Box<RefCell<Grouped>>),
}

/// A scan of the store under way.
struct Streamed {
    scan: Scan,
    block: EventBlock,
}

/// Kept rows one after the other, without those that do not match.
struct Span {
    kept: Arc<Kept>,
    wants: Wants,
    rows: std::ops::Range<usize>,
    backwards: bool,
    current: usize,
}

impl Walk {
    pub(super) const fn new(shown: Shown, context: Arc<Context>) -> Self {
        Self { shown, context, prepared: None, rows: Rows::End, row: 0, left: 0, near: None }
    }

    /// Begins a scan at its first row.
    ///
    /// # Errors
    /// When the rows cannot be read, a value is not compared with times, or the statement was
    /// interrupted.
    pub(super) fn start(&mut self, plan: &str, arguments: &Filters<'_>) -> Result<(), SqlError> {
        (self.rows, self.left) = (Rows::End, 0);
        self.context.check_interrupt()?;
        let schema = self.shown.schema();
        let prepared = match self.prepared.take() {
            Some(prepared) if *prepared.text == *plan => prepared,
            // SQLite uses a cursor again, for instance for the rows that an outer join left over.
            _ => {
                self.near = None;
                Prepared::new(schema, plan)?
            }
        };
        let prepared = self.prepared.insert(prepared);
        let Some(request) = prepared.request(schema, arguments)? else {
            return Ok(());
        };
        match self.shown {
            Shown::State(entry) => self.start_state(entry, &request),
            Shown::Events(schema) => self.start_events(schema, &request),
        }
    }

    fn start_state(&mut self, entry: &StateTableEntry, request: &Request) -> Result<(), SqlError> {
        let kept = self.context.kept_state(entry)?;
        let Some(wants) = self.wants(request, |_| true) else { return Ok(()) };
        // Rows of state tables are kept anyway, so their indexes are not counted.
        self.rows = match kept.index(&wants, false, |_| true) {
            Some(index) => Rows::Found { found: reversed(index.rows(&kept, &wants)), kept },
            None => Rows::Kept(Span::new(kept, wants, None, false)),
        };
        self.settle()
    }

    fn start_events(
        &mut self,
        schema: &'static TableSchema,
        request: &Request,
    ) -> Result<(), SqlError> {
        self.context.note_scan(schema.name, request.range);
        let near = match self.near.take() {
            Some(near) if near.serves(request) => Some(near),
            _ => self.find_near(schema, request)?,
        };
        let Some(near) = near else { return self.stream(schema, request) };
        let near = self.near.insert(near).clone();
        let Some(wants) = self.wants(request, |argument| near.varies(argument)) else {
            return Ok(());
        };
        let backwards = self.order() == Order::Descending;
        let range = near.is_wider(request.range).then_some(request.range);
        let kept = Arc::clone(&near.kept);
        let found =
            kept.index(&wants, true, |bytes| self.context.take(Use::Kept, bytes)).map(|index| {
                let mut found = index.rows(&kept, &wants);
                if let Some(range) = range {
                    let rows = kept.range(range);
                    found.retain(|row| rows.contains(&(*row as usize)));
                }
                found
            });
        self.rows = match (found, self.grouping()) {
            (found, Some(grouping)) => {
                let mut found = found.unwrap_or_else(|| {
                    let rows = range.map_or(0..kept.len(), |range| kept.range(range));
                    let matching = rows.filter(|row| kept.matches(&wants, *row));
                    matching.filter_map(|row| u32::try_from(row).ok()).collect()
                });
                found.sort_by(|left, right| kept.compare(*right, *left, &grouping.columns));
                Rows::Found { kept, found }
            }
            (Some(found), None) => {
                Rows::Found { kept, found: if backwards { found } else { reversed(found) } }
            }
            (None, None) => Rows::Kept(Span::new(kept, wants, range, backwards)),
        };
        self.settle()
    }

    /// Hands over the rows that are streamed, from the first on; nothing is left here then.
    pub(super) fn take_stream(&mut self) -> Option<Stream> {
        let layout = Arc::clone(&self.prepared.as_ref()?.layout);
        match std::mem::replace(&mut self.rows, Rows::End) {
            Rows::Streamed(streamed) => {
                let Streamed { scan, block } = *streamed;
                (self.row, self.left) = (0, 0);
                Some(Stream { schema: self.shown.schema(), scan, block, layout })
            }
            rows => {
                self.rows = rows;
                None
            }
        }
    }

    fn grouping(&self) -> Option<&Grouping> {
        match &self.prepared.as_ref()?.plan.shape {
            Shape::Grouped(grouping) => Some(grouping),
            _ => None,
        }
    }

    fn order(&self) -> Order {
        self.prepared.as_ref().map_or(Order::Any, |prepared| prepared.plan.shape.scanned())
    }

    /// The kept rows that answer a request, if there are any.
    fn find_near(
        &self,
        schema: &'static TableSchema,
        request: &Request,
    ) -> Result<Option<Near>, SqlError> {
        let Some(prepared) = &self.prepared else { return Ok(None) };
        let repeatable = Repeatable {
            schema,
            plan: &prepared.text,
            layout: &prepared.layout,
            ordered: self.order() != Order::Any,
            filters: &|fixed| prepared.filters(fixed),
        };
        self.context.near(&repeatable, request)
    }

    /// Reads from the store.
    fn stream(&mut self, schema: &'static TableSchema, request: &Request) -> Result<(), SqlError> {
        let Some(prepared) = &self.prepared else { return Ok(()) };
        let arguments: Vec<_> = request.arguments.iter().cloned().map(Some).collect();
        let filters = prepared.filters(&arguments);
        if let Some(grouping) = self.grouping() {
            let columns: Vec<usize> = grouping.columns.iter().filter_map(|by| by.column).collect();
            let task = Task {
                schema,
                keys: Arc::new(Layout::new(schema, &columns)),
                whole: Arc::clone(&prepared.layout),
                grouping: grouping.clone(),
                range: request.range,
                filters,
            };
            if let Some(grouped) = Grouped::begin(Arc::clone(&self.context), task)? {
                (self.row, self.left) = (0, following(&grouped));
                self.rows = Rows::Grouped(Box::new(RefCell::new(grouped)));
            }
            return Ok(());
        }
        let asked = prepared.layout.request(request.range, filters, self.order());
        let mut scan = self.context.scan(schema, &asked)?;
        if let Some(block) = next_block(&self.context, schema, &mut scan, &prepared.layout)? {
            (self.row, self.left) = (0, block.len().saturating_sub(1));
            self.rows = Rows::Streamed(Box::new(Streamed { scan, block }));
        }
        Ok(())
    }

    /// The values to look up among kept rows; `None` when none of them can be there.
    fn wants(&self, request: &Request, varies: impl Fn(usize) -> bool) -> Option<Wants> {
        let tests = self.prepared.as_ref().map_or(&[][..], |prepared| &prepared.tests);
        let mut wants = Wants::new();
        for (index, (test, argument)) in tests.iter().zip(&request.arguments).enumerate() {
            let (Some(key), Argument::One(value)) = (test.key(), argument) else { continue };
            if !varies(index) {
                continue;
            }
            match key.wanted(value.into()) {
                Wanted::Nothing => return None,
                Wanted::Only(key) => wants.push((test.column, key)),
                Wanted::Any => {}
            }
        }
        wants.sort_by_key(|(column, _)| *column);
        Some(wants)
    }

    /// Goes to the next row.
    ///
    /// # Errors
    /// When it cannot be read, or the statement was interrupted.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<(), SqlError> {
        if self.left > 0 {
            self.left -= 1;
            self.row += 1;
            return Ok(());
        }
        self.advance_block()
    }

    #[inline(never)]
    fn advance_block(&mut self) -> Result<(), SqlError> {
        match &mut self.rows {
            Rows::End => Ok(()),
            Rows::Found { found, .. } => {
                found.pop();
                self.settle()
            }
            Rows::Kept(span) => {
                span.step();
                self.settle()
            }
            Rows::Grouped(grouped) => {
                let grouped = grouped.get_mut();
                let more = following(grouped).saturating_sub(self.row);
                if more > 0 {
                    // SQLite has asked for the number of a row that stood for its whole group.
                    (self.row, self.left) = (self.row + 1, more - 1);
                } else if grouped.next()? {
                    (self.row, self.left) = (0, following(grouped));
                } else {
                    self.rows = Rows::End;
                }
                Ok(())
            }
            Rows::Streamed(streamed) => {
                let Some(prepared) = &self.prepared else { return Ok(()) };
                let (schema, layout) = (self.shown.schema(), &prepared.layout);
                match next_block(&self.context, schema, &mut streamed.scan, layout)? {
                    Some(block) => {
                        (self.row, self.left) = (0, block.len().saturating_sub(1));
                        streamed.block = block;
                    }
                    None => self.rows = Rows::End,
                }
                Ok(())
            }
        }
    }

    /// Moves on from where the cursor stands among kept rows to a row that exists and matches.
    fn settle(&mut self) -> Result<(), SqlError> {
        let found = match &mut self.rows {
            Rows::End => false,
            Rows::Streamed(_) | Rows::Grouped(_) => true,
            Rows::Found { found, .. } => !found.is_empty(),
            Rows::Kept(span) => span.settle(&self.context)?,
        };
        if !found {
            self.rows = Rows::End;
        }
        Ok(())
    }

    /// Whether there is no row here.
    #[inline]
    pub(super) const fn is_at_end(&self) -> bool {
        matches!(self.rows, Rows::End)
    }

    /// A column of the rows that are streamed, and the current row's place in it, when it is
    /// stored.
    #[inline]
    pub(super) fn stored(&self, column: usize) -> Option<(&ColumnArray, usize)> {
        match &self.rows {
            Rows::Streamed(streamed) => Some((streamed.block.stored_column(column)?, self.row)),
            _ => None,
        }
    }

    /// Hands over the value of a column of the current row; null at the end.
    ///
    /// # Errors
    /// When the row is one of a group and cannot be read.
    #[inline]
    pub(super) fn with_cell<T>(
        &self,
        column: usize,
        take: impl FnOnce(Cell<'_>) -> T,
    ) -> Result<T, SqlError> {
        if let Rows::Streamed(streamed) = &self.rows {
            return Ok(take(streamed.block.cell(column, self.row)));
        }
        let null = Cell::Value(ValueRef::Null);
        if let Rows::Grouped(grouped) = &self.rows {
            let mut grouped = grouped.borrow_mut();
            if let Some(key) = grouped.key(column) {
                return Ok(take(key));
            }
            let row = grouped.row(self.row)?;
            return Ok(take(row.map_or(null, |(block, row)| block.cell(column, row))));
        }
        Ok(take(self.kept_row().map_or(null, |(block, row)| block.cell(column, row))))
    }

    /// The number of the current row; 0 at the end.
    ///
    /// # Errors
    /// As [`Self::with_cell`].
    pub(super) fn rowid(&self) -> Result<i64, SqlError> {
        match &self.rows {
            Rows::Streamed(streamed) => Ok(streamed.block.rowid(self.row)),
            Rows::Grouped(grouped) => {
                let mut grouped = grouped.borrow_mut();
                let row = grouped.row(self.row)?;
                Ok(row.map_or(0, |(block, row)| block.rowid(row)))
            }
            _ => Ok(self.kept_row().map_or(0, |(block, row)| block.rowid(row))),
        }
    }

    fn kept_row(&self) -> Option<(&dyn Block, usize)> {
        match &self.rows {
            Rows::End | Rows::Streamed(_) | Rows::Grouped(_) => None,
            Rows::Kept(span) => span.kept.at(span.current),
            Rows::Found { kept, found } => kept.at(*found.last()? as usize),
        }
    }
}

/// How many rows follow the first of a group.
fn following(grouped: &Grouped) -> usize {
    usize::try_from(grouped.times().saturating_sub(1)).unwrap_or(usize::MAX)
}

fn reversed(mut found: Vec<u32>) -> Vec<u32> {
    found.reverse();
    found
}

impl Span {
    fn new(kept: Arc<Kept>, wants: Wants, range: Option<TimeRange>, backwards: bool) -> Self {
        let rows = range.map_or(0..kept.len(), |range| kept.range(range));
        Self { kept, wants, rows, backwards, current: 0 }
    }

    /// Leaves the current row behind.
    const fn step(&mut self) {
        if self.backwards {
            self.rows.end = self.current;
        } else {
            self.rows.start = self.current + 1;
        }
    }

    /// Goes to the nearest row that matches; false when there is none.
    fn settle(&mut self, context: &Context) -> Result<bool, SqlError> {
        /// Rows that are looked at between two looks at the clock.
        const UNCHECKED: usize = 1 << 16;
        let mut looked = 0;
        while !self.rows.is_empty() {
            self.current = if self.backwards { self.rows.end - 1 } else { self.rows.start };
            if self.kept.matches(&self.wants, self.current) {
                return Ok(true);
            }
            self.step();
            looked += 1;
            if looked % UNCHECKED == 0 {
                context.check_interrupt()?;
            }
        }
        Ok(false)
    }
}

impl Prepared {
    fn new(schema: &TableSchema, text: &str) -> Result<Self, SqlError> {
        let plan = Plan::parse(schema, text).ok_or_else(|| SqlError::Sqlite {
            message: format!("no plan of {}: {text}", schema.name),
        })?;
        let tests = plan.terms.iter().filter_map(|term| match *term {
            Term::Bound(..) => None,
            Term::Test(column, operator) => {
                Kind::of(schema, column).map(|kind| Tested { column, operator, kind })
            }
        });
        let tests: Vec<Tested> = tests.collect();
        // A rowid is looked up among kept rows and no column that SQLite reads.
        let keys = tests.iter().filter(|test| test.key().is_some()).map(|test| test.column);
        let reads: Vec<usize> = plan.reads.iter().copied().chain(keys).collect();
        let layout = Arc::new(Layout::new(schema, &reads));
        Ok(Self { text: text.into(), plan, layout, tests })
    }

    /// What the arguments ask for; `None` when no row can satisfy them.
    fn request(
        &self,
        schema: &TableSchema,
        arguments: &Filters<'_>,
    ) -> Result<Option<Request>, SqlError> {
        let mut request =
            Request { range: TimeRange::ALL, arguments: Vec::with_capacity(self.tests.len()) };
        let terms = self.plan.terms.iter().zip(arguments.iter()).enumerate();
        for (index, (term, value)) in terms {
            match *term {
                Term::Bound(column, operator) => {
                    let Some(range) = request.range.narrow(column, operator, value) else {
                        return Err(SqlError::not_a_time(
                            name(schema, column_index(schema, column)),
                            value,
                        ));
                    };
                    request.range = range;
                }
                Term::Test(_, Operator::In) => {
                    request.arguments.push(members(arguments, index)?);
                }
                Term::Test(..) => request.arguments.push(Argument::One(owned(value))),
            }
        }
        let satisfiable = self
            .tests
            .iter()
            .zip(&request.arguments)
            .all(|(test, argument)| !matches!(test.asked(argument), Asked::Nothing));
        Ok((satisfiable && !request.range.is_empty()).then_some(request))
    }

    /// The filters of the arguments that are there.
    fn filters(&self, arguments: &[Option<Argument>]) -> Vec<Filter> {
        let mut filters = Vec::new();
        for (test, argument) in self.tests.iter().zip(arguments) {
            let asked = argument.as_ref().map(|argument| test.asked(argument));
            if let Some(Asked::Filters(more)) = asked {
                filters.extend(more);
            }
        }
        filters
    }
}

impl Tested {
    fn asked(&self, argument: &Argument) -> Asked {
        match argument {
            Argument::One(value) => values::test(self.kind, self.operator, &[value.into()]).asked,
            Argument::Many(values) if values.len() > IN_VALUES_MAX => Asked::Anything,
            Argument::Many(_) => values::test(self.kind, self.operator, &argument.values()).asked,
        }
    }
}

/// The members of an `IN`.
fn members(arguments: &Filters<'_>, index: usize) -> Result<Argument, SqlError> {
    let failed = |error: rusqlite::Error| SqlError::Sqlite { message: error.to_string() };
    let mut members = arguments.in_values(index).map_err(failed)?;
    let mut values: Vec<Value> = Vec::new();
    while let Some(member) = members.next().map_err(failed)? {
        values.push(owned(member.get_raw()));
        if values.len() > IN_VALUES_MAX {
            break;
        }
    }
    Ok(Argument::Many(values.into()))
}

/// The next block that has rows.
pub(super) fn next_block(
    context: &Context,
    schema: &'static TableSchema,
    scan: &mut Scan,
    layout: &Arc<Layout>,
) -> Result<Option<EventBlock>, SqlError> {
    for batch in scan {
        context.check_interrupt()?;
        let batch = batch.map_err(|source| context.read_error(schema.name, source))?;
        if !batch.is_empty() {
            return Ok(Some(EventBlock::new(batch, Arc::clone(layout))));
        }
    }
    Ok(None)
}
