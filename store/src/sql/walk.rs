//! A cursor's way through the rows of one scan.

use std::sync::Arc;

use rusqlite::types::ValueRef as SqlValue;

use crate::Scan;
use crate::schema::TableSchema;
use crate::sql::bounds::TimeRange;
use crate::sql::error::SqlError;
use crate::sql::event::{EventBlock, Layout};
use crate::sql::kept::{At, Kept, Wants};
use crate::sql::plan::{Plan, Term};
use crate::sql::rows::{Block, Cell, Wanted};
use crate::sql::state::StateTableEntry;
use crate::sql::statement::{Context, ScanKey};

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
}

/// A plan made ready. A cursor has the same one at each of its scans.
struct Prepared {
    text: String,
    plan: Plan,
    reads: Arc<[usize]>,
    layout: Arc<Layout>,
}

/// Where the rows come from.
enum Rows {
    /// There are none, or no more.
    End,
    /// Streamed from the store, with the rows that do not match left out.
    Streamed(Box<Streamed>),
    /// Kept rows, likewise.
    Kept { kept: Arc<Kept>, wants: Wants, at: At },
    /// Kept rows that an index found.
    Found { kept: Arc<Kept>, found: Vec<At>, position: usize },
}

/// A scan of the store under way.
struct Streamed {
    scan: Scan,
    layout: Arc<Layout>,
    wants: Wants,
    block: EventBlock,
    row: usize,
}

/// What the arguments of a scan ask for.
enum Asked {
    Nothing,
    Rows { range: TimeRange, wants: Wants },
}

impl Walk {
    pub(super) const fn new(shown: Shown, context: Arc<Context>) -> Self {
        Self { shown, context, prepared: None, rows: Rows::End }
    }

    /// Begins a scan at its first row.
    ///
    /// # Errors
    /// When the rows cannot be read, or the statement was interrupted.
    pub(super) fn start<'a>(
        &mut self,
        plan: &str,
        arguments: impl Iterator<Item = SqlValue<'a>>,
    ) -> Result<(), SqlError> {
        self.rows = Rows::End;
        self.context.check_interrupt()?;
        let schema = self.shown.schema();
        let prepared = match self.prepared.take() {
            Some(prepared) if prepared.text == plan => prepared,
            _ => Prepared::new(schema, plan)?,
        };
        let prepared = self.prepared.insert(prepared);
        let Asked::Rows { range, mut wants } = asked(&prepared.plan, arguments) else {
            return Ok(());
        };
        wants.sort_by_key(|(column, _)| *column);
        self.rows = self.rows(range, wants)?;
        self.settle()
    }

    /// Where the rows of a range come from.
    fn rows(&self, range: TimeRange, wants: Wants) -> Result<Rows, SqlError> {
        let Some(prepared) = &self.prepared else {
            return Ok(Rows::End);
        };
        let kept = match self.shown {
            Shown::State(entry) => Some(self.context.kept_state(entry)?),
            Shown::Events(schema) => {
                self.context.note_scan(schema.name, range);
                let reads = Arc::clone(&prepared.reads);
                let key = ScanKey { table: schema.name, range, reads };
                let columns: Vec<usize> = prepared.plan.keys().collect();
                self.context.kept_events(&key, schema, &prepared.layout, &columns)?
            }
        };
        let Some(kept) = kept else {
            let layout = Arc::clone(&prepared.layout);
            let schema = self.shown.schema();
            let streamed = Streamed::begin(&self.context, schema, range, layout, wants)?;
            return Ok(streamed.map_or(Rows::End, |streamed| Rows::Streamed(Box::new(streamed))));
        };
        // The rows of a state table are bounded by the host, so their indexes are not counted.
        let charge = |bytes| matches!(self.shown, Shown::State(_)) || self.context.charge(bytes);
        Ok(match kept.index(&wants, charge) {
            Some(index) => Rows::Found { kept, found: index.rows(&wants), position: 0 },
            None => Rows::Kept { kept, wants, at: At { block: 0, row: 0 } },
        })
    }

    /// Goes to the next row.
    ///
    /// # Errors
    /// When it cannot be read, or the statement was interrupted.
    pub(super) fn advance(&mut self) -> Result<(), SqlError> {
        match &mut self.rows {
            Rows::End => {}
            Rows::Streamed(streamed) => streamed.row += 1,
            Rows::Kept { at, .. } => at.row += 1,
            Rows::Found { position, .. } => *position += 1,
        }
        self.settle()
    }

    /// Whether there is no row here.
    pub(super) const fn is_at_end(&self) -> bool {
        matches!(self.rows, Rows::End)
    }

    /// The value of a column of the current row; null at the end.
    pub(super) fn cell(&self, column: usize) -> Cell<'_> {
        self.current().map_or(Cell::Value(crate::table::ValueRef::Null), |(block, row)| {
            block.cell(column, row)
        })
    }

    /// The number of the current row; 0 at the end.
    pub(super) fn rowid(&self) -> i64 {
        self.current().map_or(0, |(block, row)| block.rowid(row))
    }

    fn current(&self) -> Option<(&dyn Block, usize)> {
        match &self.rows {
            Rows::End => None,
            Rows::Streamed(streamed) => Some((&streamed.block, streamed.row)),
            Rows::Kept { kept, at, .. } => Some((kept.block(at.block)?, at.row)),
            Rows::Found { kept, found, position } => {
                let at = found.get(*position)?;
                Some((kept.block(at.block)?, at.row))
            }
        }
    }

    /// Moves on from where the cursor stands to a row that exists and matches.
    fn settle(&mut self) -> Result<(), SqlError> {
        let schema = self.shown.schema();
        let found = match &mut self.rows {
            Rows::End => false,
            Rows::Found { found, position, .. } => *position < found.len(),
            Rows::Kept { kept, wants, at } => settle_kept(kept, wants, at),
            Rows::Streamed(streamed) => streamed.settle(&self.context, schema)?,
        };
        if !found {
            self.rows = Rows::End;
        }
        Ok(())
    }
}

impl Streamed {
    /// A scan at its first row; `None` when there is none.
    fn begin(
        context: &Context,
        schema: &'static TableSchema,
        range: TimeRange,
        layout: Arc<Layout>,
        wants: Wants,
    ) -> Result<Option<Self>, SqlError> {
        let mut scan = context.scan(schema, range, &layout)?;
        let block = next_block(context, schema, &mut scan, &layout)?;
        Ok(block.map(|block| Self { scan, layout, wants, block, row: 0 }))
    }

    /// Moves on to a row that exists and matches; false when there is none.
    fn settle(
        &mut self,
        context: &Context,
        schema: &'static TableSchema,
    ) -> Result<bool, SqlError> {
        loop {
            if let Some(row) = next_match(&self.block, &self.wants, self.row) {
                self.row = row;
                return Ok(true);
            }
            let next = next_block(context, schema, &mut self.scan, &self.layout)?;
            let Some(block) = next else { return Ok(false) };
            (self.block, self.row) = (block, 0);
        }
    }
}

impl Prepared {
    fn new(schema: &TableSchema, text: &str) -> Result<Self, SqlError> {
        let plan = Plan::parse(schema, text).ok_or_else(|| SqlError::Sqlite {
            message: format!("no plan of {}: {text}", schema.name),
        })?;
        let layout = Arc::new(Layout::new(schema, &plan.reads));
        Ok(Self { text: text.to_owned(), reads: plan.reads.as_slice().into(), plan, layout })
    }
}

fn asked<'a>(plan: &Plan, arguments: impl Iterator<Item = SqlValue<'a>>) -> Asked {
    let (mut range, mut wants) = (TimeRange::ALL, Wants::new());
    for (term, value) in plan.terms.iter().zip(arguments) {
        match *term {
            Term::Bound(column, operator) => range = range.narrow(column, operator, value),
            Term::Key(column, kind) => match kind.wanted(value) {
                Wanted::Nothing => return Asked::Nothing,
                Wanted::Only(key) => wants.push((column, key)),
                Wanted::Any => {}
            },
        }
    }
    if range.is_empty() { Asked::Nothing } else { Asked::Rows { range, wants } }
}

/// The next block that has rows.
fn next_block(
    context: &Context,
    schema: &'static TableSchema,
    scan: &mut Scan,
    layout: &Arc<Layout>,
) -> Result<Option<EventBlock>, SqlError> {
    for batch in scan {
        context.check_interrupt()?;
        let batch = batch.map_err(|source| SqlError::Read { table: schema.name, source })?;
        if !batch.is_empty() {
            return Ok(Some(EventBlock::new(batch, Arc::clone(layout))));
        }
    }
    Ok(None)
}

/// The first row from `row` on with the wanted values.
fn next_match(block: &dyn Block, wants: &Wants, row: usize) -> Option<usize> {
    (row..block.len())
        .find(|row| wants.iter().all(|(column, key)| block.cell(*column, *row).equals(key)))
}

fn settle_kept(kept: &Kept, wants: &Wants, at: &mut At) -> bool {
    while let Some(block) = kept.block(at.block) {
        if let Some(row) = next_match(block, wants, at.row) {
            at.row = row;
            return true;
        }
        *at = At { block: at.block + 1, row: 0 };
    }
    false
}
