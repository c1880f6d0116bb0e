//! Generated statements against an ordinary SQLite table with the same rows.

use bygone_store::EventTable;
use bygone_store::limits::{GROUPS_BYTES_MAX, KEPT_BYTES_MAX};
use bygone_store::schema::ColumnType;
use bygone_store::sql::{Session, SqlError};
use rusqlite::Connection;

use crate::control::{
    Agreed, Chance, LITERALS, agree, ask_control, comparable, control, others, samples,
};
use crate::fixture::{Samples, Store, plan, rows, run, sample};

const ROWS: usize = 24;

/// Statements that gave rows, of those from these seeds. Those that are refused are few.
fn compare(session: &Session, control: &Connection, seeds: std::ops::Range<u64>) -> usize {
    let (mut answered, mut refused) = (0, 0);
    let all = usize::try_from(seeds.end - seeds.start).unwrap();
    for seed in seeds {
        match agree(session, control, &mut Chance::new(seed), &format!("seed {seed}")) {
            Agreed::Rows => answered += 1,
            Agreed::Refused => refused += 1,
            Agreed::Nothing => {}
        }
    }
    assert!(refused < all / 5, "{refused} of {all} statements were refused");
    answered
}

/// How much memory a session has, in bytes.
#[derive(Clone, Copy)]
struct Memory {
    kept: usize,
    groups: usize,
}

const ENOUGH: Memory = Memory { kept: KEPT_BYTES_MAX, groups: GROUPS_BYTES_MAX };

/// Compares statements of a round of their own over a store of its own.
fn check(round: u64, journal_bytes_max: u64, memory: Memory, statements: u64) {
    let mut chance = Chance::new(round);
    let (samples, others) = (samples(ROWS, &mut chance), others(ROWS, &mut chance));
    let mut store = Store::new(journal_bytes_max);
    for (sample, other) in samples.iter().zip(&others) {
        store.append(vec![sample.clone()]);
        store.append(vec![other.clone()]);
        store.writer.tick().unwrap();
    }
    let session = store.session();
    let session = session.with_kept_bytes_max(memory.kept).with_groups_bytes_max(memory.groups);
    let first = round * 1_000_000;
    let answered = compare(&session, &control(&samples, &others), first..first + statements);
    let enough = usize::try_from(statements / 4).unwrap();
    assert!(answered > enough, "too few statements with rows: {answered}");
}

#[test]
fn generated_statements_agree_over_a_journal() {
    check(1, u64::MAX, ENOUGH, 2000);
}

#[test]
fn generated_statements_agree_over_many_segments() {
    check(2, 1024, ENOUGH, 700);
}

#[test]
fn generated_statements_agree_when_no_rows_are_kept() {
    check(3, 4096, Memory { kept: 0, ..ENOUGH }, 300);
}

/// Few distinct values fit, so that most groupings are done in parts.
#[test]
fn generated_statements_agree_when_few_values_fit() {
    check(4, u64::MAX, Memory { groups: 500, ..ENOUGH }, 600);
}

/// Every comparison of both time columns with every literal, alone, so that each is a bound.
#[test]
fn every_time_bound_agrees_with_an_ordinary_table() {
    let mut chance = Chance::new(7);
    let (samples, others) = (samples(ROWS, &mut chance), others(ROWS, &mut chance));
    let mut store = Store::new(1024);
    store.append(samples.clone());
    store.append(others.clone());
    let (session, control) = (store.session(), control(&samples, &others));
    for column in ["time", "time_ns"] {
        for comparison in ["=", "<", "<=", ">", ">=", "IS", "<>"] {
            for literal in LITERALS {
                let sql = format!("SELECT eid FROM samples WHERE {column} {comparison} {literal}");
                let ours = match run(&session, &sql) {
                    Ok((sink, _)) => sink.rows,
                    Err(SqlError::NotATime { .. }) if literal.starts_with('\'') => continue,
                    Err(error) => panic!("{sql}: {error}"),
                };
                let theirs = ask_control(&control, &sql).unwrap();
                assert_eq!(comparable(&ours, false), comparable(&theirs, false), "{sql}");
            }
        }
    }
    let kinds = Samples::SCHEMA.stored().map(|(_, _, kind)| kind);
    assert_eq!(kinds.filter(|kind| *kind == ColumnType::I64).count(), 2);
}

/// Bytes choose the statement as long as there are some.
#[test]
fn a_byte_makes_a_choice() {
    let mut chance = Chance::of_bytes(&[4, 255, 0]);
    assert_eq!([chance.below(3), chance.below(100)], [1, 55]);
    assert!(chance.one_in(7));
    let (mut same, mut seeded) = (Chance::of_bytes(&[]), Chance::new(0));
    for _ in 0..9 {
        let number = chance.number();
        assert_eq!([same.number(), seeded.number()], [number; 2]);
    }
}

/// SQLite does not say that it will ask for the number of a row that stands for its group.
#[test]
fn conditions_on_the_number_leave_out_no_value() {
    let mut chance = Chance::new(7);
    let (samples, others) = (samples(ROWS, &mut chance), others(ROWS, &mut chance));
    let mut store = Store::new(1024);
    store.append(samples.clone());
    store.append(others.clone());
    let (session, control) = (store.session(), control(&samples, &others));
    let conditions = ["rowid % 3 = 2", "rowid IN (5, 'x')", "rowid <> 1", "rowid + 0 > 3"];
    let shapes = [("pid", ""), ("flag", ""), ("name, pid", "ORDER BY pid DESC, name")];
    for condition in conditions {
        for (columns, order) in shapes {
            let sql = format!("SELECT DISTINCT {columns} FROM samples WHERE {condition} {order}");
            let lines = plan(&session, &sql);
            assert!(lines[0].contains("ONCE EACH"), "{lines:?}");
            let (ours, theirs) = (rows(&session, &sql), ask_control(&control, &sql).unwrap());
            assert!(!ours.is_empty(), "{sql}");
            let ordered = !order.is_empty();
            assert_eq!(comparable(&ours, ordered), comparable(&theirs, ordered), "{sql}");
        }
    }
}

/// Combinations are far more than fit, although the first columns have few values.
#[test]
fn groups_are_divided_by_any_column() {
    let row = |number: i64| Samples {
        level: [None, Some(-3), Some(7)][number as usize % 3],
        name: format!("name {}", number % 900),
        label: (number % 5 > 0).then(|| format!("label {}", number % 4)),
        flag: number % 2 == 0,
        ..sample(number * 1_000, number as u32)
    };
    let samples: Vec<Samples> = (0..3_000).map(row).collect();
    let mut store = Store::new(64 << 10);
    store.append(samples.clone());
    let (session, control) = (store.session(), control(&samples, &[]));
    let session = session.with_groups_bytes_max(6_000);
    let statements = [
        ("SELECT flag, pid, count(*) FROM samples GROUP BY flag, pid", "GROUPED BY"),
        ("SELECT flag, name FROM samples ORDER BY flag DESC, name", "SORTED BY"),
        ("SELECT DISTINCT label, flag, pid FROM samples", "ONCE EACH"),
        ("SELECT DISTINCT level, name FROM samples ORDER BY level, name DESC", "SORTED ONCE"),
    ];
    for (sql, shape) in statements {
        let lines = plan(&session, sql);
        assert!(lines[0].contains(shape), "{sql}: {lines:?}");
        let (ours, theirs) = (rows(&session, sql), ask_control(&control, sql).unwrap());
        let ordered = sql.contains("ORDER");
        assert!(comparable(&ours, ordered) == comparable(&theirs, ordered), "{sql}");
    }
}

/// Of whole rows, which go past SQLite, and of the same with a condition that SQLite checks.
#[test]
fn whole_rows_agree_with_an_ordinary_table() {
    let mut chance = Chance::new(11);
    let samples = samples(300, &mut chance);
    let mut store = Store::new(4096);
    for some in samples.chunks(50) {
        store.append(some.to_vec());
        store.writer.tick().unwrap();
    }
    let (session, control) = (store.session(), control(&samples, &[]));
    let names: Vec<&str> = Samples::SCHEMA.columns.iter().map(|column| column.name).collect();
    let whole = format!("SELECT {} FROM samples", names.join(", "));
    for sql in [
        whole.clone(),
        format!("{whole} WHERE pid + 0 > -1"),
        format!("{whole} WHERE time_ns > 0 ORDER BY time_ns DESC, eid DESC"),
        "SELECT score, label, data FROM samples WHERE label IS NOT NULL".to_owned(),
        "SELECT count(*) FROM samples".to_owned(),
        "SELECT count(*) FROM samples WHERE label IS NOT NULL AND time_ns > 0".to_owned(),
        "SELECT count(*) FROM samples WHERE label IS NULL AND label = 'x'".to_owned(),
        "SELECT count(*) FROM samples WHERE pid = -1".to_owned(),
    ] {
        let (ours, theirs) = (rows(&session, &sql), ask_control(&control, &sql).unwrap());
        let ordered = sql.contains("ORDER");
        assert!(!ours.is_empty(), "{sql}");
        assert!(comparable(&ours, ordered) == comparable(&theirs, ordered), "{sql}");
    }
}
