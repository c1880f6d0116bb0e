//! Ordinary SQLite tables with the same rows, and the comparison with them.

use bygone_store::schema::{ColumnSource, Computation};
use bygone_store::sql::{Session, SqlError};
use bygone_store::{Computed, EventTable, TableSchema, guid};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::collect::run;
use super::generate::{Chance, statement};
use super::tables::{BOOT_ID, CLOCK_OFFSET_NS, Others, Samples};

const TIMES: &[i64] = &[
    0,
    1,
    -1,
    999_999_999,
    1_000_000_000,
    -1_000_000_000,
    -1_000_000_001,
    5_000_000_000,
    5_500_000_000,
    5_999_999_999,
    6_000_000_000,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
    i64::MIN + 1,
];

/// So many rows by chance.
pub(crate) fn samples(rows: usize, chance: &mut Chance) -> Vec<Samples> {
    let names = ["a", "A", "abc", "", "5", "05", "5.0", " 5 ", "é", "a ", "9223372036854775808"];
    let sample = |_| Samples {
        pid: chance.pick(&[&0, &1, &1, &5, &u32::MAX]).to_owned(),
        start_ns: chance.pick(&[&0, &10, &50, &u64::MAX, &(1 << 63)]).to_owned(),
        guid: Computed,
        name: (*chance.pick(&names.each_ref())).to_owned(),
        label: (!chance.one_in(3)).then(|| (*chance.pick(&names.each_ref())).to_owned()),
        // Not -0.0, of which SQLite's own storage makes 0.0.
        score: chance
            .pick(&[&0.0, &5.0, &5.5, &f64::NAN, &f64::INFINITY, &1e300, &-1.0])
            .to_owned(),
        level: (!chance.one_in(3)).then(|| chance.pick(&[&0, &5, &-1, &i32::MIN]).to_owned()),
        flag: chance.one_in(2),
        big: chance.pick(&[&0, &5, &i64::MAX, &i64::MIN, &9_007_199_254_740_993]).to_owned(),
        data: (!chance.one_in(3)).then(|| chance.pick(&[&b""[..], b"5", b"\x00\xff"]).to_vec()),
        time_ns: TIMES[chance.below(TIMES.len())],
        uptime: Computed,
    };
    (0..rows).map(sample).collect()
}

/// Likewise.
pub(crate) fn others(rows: usize, chance: &mut Chance) -> Vec<Others> {
    let names = ["a", "A", "5", "05", ""];
    let other = |_| Others {
        time_ns: TIMES[chance.below(TIMES.len())],
        pid: (!chance.one_in(4)).then(|| chance.pick(&[&0, &1, &5]).to_owned()),
        start_ns: (!chance.one_in(4)).then(|| chance.pick(&[&0, &10, &50, &u64::MAX]).to_owned()),
        guid: Computed,
        name: (*chance.pick(&names.each_ref())).to_owned(),
        level: (!chance.one_in(3)).then(|| chance.pick(&[&0, &5, &-1]).to_owned()),
    };
    (0..rows).map(other).collect()
}

/// The value of a computed column, written down anew.
fn computed(computation: Computation, time_ns: i64, eid: i64, stored: &[(usize, Value)]) -> Value {
    let boot_ns = time_ns.wrapping_sub(CLOCK_OFFSET_NS);
    let part = |index: usize| match stored.iter().find(|(at, _)| *at == index) {
        Some((_, Value::Integer(value))) => Some(*value),
        _ => None,
    };
    match computation {
        Computation::Seconds => Value::Integer(time_ns.div_euclid(1_000_000_000)),
        Computation::Uptime => Value::Integer(boot_ns.div_euclid(1_000_000_000)),
        Computation::BootNs => Value::Integer(boot_ns),
        Computation::BootId => Value::Text(format!("{:032x}", u128::from_be_bytes(BOOT_ID))),
        Computation::Eid => Value::Integer(eid),
        Computation::Guid { pid, start_ns } => match (part(pid), part(start_ns)) {
            (Some(pid), Some(start_ns)) => {
                let (pid, start_ns) = (u32::try_from(pid).unwrap(), start_ns.cast_unsigned());
                Value::Text(guid(&BOOT_ID, pid, start_ns))
            }
            _ => Value::Null,
        },
    }
}

/// Creates the ordinary table and fills it.
fn ordinary(
    connection: &Connection,
    schema: &'static TableSchema,
    rows: impl Iterator<Item = (i64, Vec<Value>)>,
) {
    let columns = schema.columns.iter().map(|column| {
        let kind = match column.source {
            ColumnSource::Stored(kind) => kind.sql(),
            ColumnSource::Computed(computation) => computation.sql(),
        };
        format!("{} {kind}", column.name)
    });
    let columns: Vec<String> = columns.collect();
    let create = format!("CREATE TABLE {} ({})", schema.name, columns.join(", "));
    connection.execute(&create, []).unwrap();
    let places = vec!["?"; schema.columns.len()].join(", ");
    let insert = format!("INSERT INTO {} VALUES ({places})", schema.name);
    for (eid, (time_ns, stored)) in (1..).zip(rows) {
        let indices = schema.stored().map(|(index, _, _)| index);
        let stored: Vec<(usize, Value)> = indices.zip(stored).collect();
        let value = |(index, source): (usize, ColumnSource)| match source {
            ColumnSource::Stored(_) => {
                stored.iter().find(|(at, _)| *at == index).map(|(_, value)| value.clone()).unwrap()
            }
            ColumnSource::Computed(computation) => computed(computation, time_ns, eid, &stored),
        };
        let sources = schema.columns.iter().map(|column| column.source).enumerate();
        connection.execute(&insert, params_from_iter(sources.map(value))).unwrap();
    }
}

/// A database with ordinary tables of these rows.
pub(crate) fn control(samples: &[Samples], others: &[Others]) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    let integer = |value: Option<i64>| value.map_or(Value::Null, Value::Integer);
    let text = |value: &str| Value::Text(value.to_owned());
    let rows = samples.iter().map(|row| {
        let stored = vec![
            Value::Integer(row.pid.into()),
            Value::Integer(row.start_ns.cast_signed()),
            text(&row.name),
            row.label.as_deref().map_or(Value::Null, text),
            Value::Real(row.score),
            integer(row.level.map(i64::from)),
            Value::Integer(row.flag.into()),
            Value::Integer(row.big),
            row.data.clone().map_or(Value::Null, Value::Blob),
            Value::Integer(row.time_ns),
        ];
        (row.time_ns, stored)
    });
    ordinary(&connection, Samples::SCHEMA, rows);
    let rows = others.iter().map(|row| {
        let stored = vec![
            Value::Integer(row.time_ns),
            integer(row.pid.map(i64::from)),
            integer(row.start_ns.map(u64::cast_signed)),
            text(&row.name),
            integer(row.level.map(i64::from)),
        ];
        (row.time_ns, stored)
    });
    ordinary(&connection, Others::SCHEMA, rows);
    let flags = FunctionFlags::SQLITE_DETERMINISTIC;
    // Of seconds since the epoch, which are all that statements have.
    let ns = |call: &mut rusqlite::functions::Context<'_>| {
        let seconds: i64 = call.get::<String>(0)?.trim_start_matches('@').parse().unwrap();
        Ok(seconds * 1_000_000_000)
    };
    connection.create_scalar_function("ns", 1, flags, ns).unwrap();
    connection
}

/// All that a statement gives there.
pub(crate) fn ask_control(
    connection: &Connection,
    sql: &str,
) -> Result<Vec<Vec<Value>>, rusqlite::Error> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|index| row.get(index)).collect();
    statement.query_map([], row)?.collect()
}

/// Rows in a form that can be compared, in an order of their own unless they have one.
pub(crate) fn comparable(rows: &[Vec<Value>], ordered: bool) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    if !ordered {
        rows.sort_unstable();
    }
    rows
}

/// What became of a statement that both were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// Both gave the same rows.
    Rows,
    /// Both gave none, or both an error.
    Nothing,
    /// The store refused it, as it does with those that compare a time with text and those that find
    /// no memory.
    Refused,
}

/// Asks both the statement that chance makes.
///
/// # Panics
/// When they do not agree. `of` says where the statement is from.
pub(crate) fn agree(
    session: &Session,
    control: &Connection,
    chance: &mut Chance,
    of: &str,
) -> Agreed {
    let (sql, ordered) = statement(chance);
    match (run(session, &sql), ask_control(control, &sql)) {
        (Ok((sink, _)), Ok(expected)) => {
            let expected = comparable(&expected, ordered);
            assert_eq!(comparable(&sink.rows, ordered), expected, "{of}: {sql}");
            if expected.is_empty() { Agreed::Nothing } else { Agreed::Rows }
        }
        (Err(SqlError::NotATime { .. } | SqlError::TooMuchMemory { .. }), _) => Agreed::Refused,
        (Err(_), Err(_)) => Agreed::Nothing,
        (ours, theirs) => panic!("{of}: {sql}: {:?} but {theirs:?}", ours.map(|_| ())),
    }
}
