//! What the planner takes over, pinned by `EXPLAIN QUERY PLAN`.

use tempfile::TempDir;

use crate::fixture::{Store, other, plan, sample, session};

fn store() -> Store {
    let mut store = Store::new(u64::MAX);
    store.append((0..500).map(|pid| sample(i64::from(pid), pid)).collect());
    store.append((0..500).map(|pid| other(i64::from(pid), pid)).collect());
    store
}

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    assert_eq!(plan(&store().session(), sql), expected, "{sql}");
}

#[test]
fn time_bounds_are_in_the_plan() {
    check(
        "SELECT pid FROM samples WHERE time >= 10 AND time < 20",
        &["SCAN samples VIRTUAL TABLE INDEX 3:time>=? AND time<? READS time, pid"],
    );
    check(
        "SELECT count(*) FROM samples WHERE time_ns BETWEEN 10 AND 20",
        &["SCAN samples VIRTUAL TABLE INDEX 3:time_ns>=? AND time_ns<=? READS time_ns"],
    );
    check(
        "SELECT count(*) FROM samples WHERE 10 < time_ns",
        &["SCAN samples VIRTUAL TABLE INDEX 1:time_ns>? READS time_ns"],
    );
    check(
        "SELECT count(*) FROM samples WHERE time IS 10",
        &["SCAN samples VIRTUAL TABLE INDEX 3:time IS ? READS time"],
    );
    check(
        "SELECT count(*) FROM samples WHERE time_ns >= ns('10 minutes ago')",
        &["SCAN samples VIRTUAL TABLE INDEX 1:time_ns>=? READS time_ns"],
    );
}

#[test]
fn counting_reads_nothing() {
    check("SELECT count(*) FROM samples", &["SCAN samples VIRTUAL TABLE INDEX 0: READS nothing"]);
}

#[test]
fn all_shown_columns_are_a_star() {
    check("SELECT * FROM others", &["SCAN others VIRTUAL TABLE INDEX 0: READS *"]);
    check(
        "SELECT *, eid FROM others",
        &["SCAN others VIRTUAL TABLE INDEX 0: READS time, time_ns, pid, start_ns, guid, name, \
           level, eid"],
    );
}

#[test]
fn a_plan_needs_no_store() {
    let dir = TempDir::new().unwrap();
    let sql = "SELECT count(*) FROM samples WHERE time_ns > 1";
    let expected = ["SCAN samples VIRTUAL TABLE INDEX 1:time_ns>? READS time_ns"];
    assert_eq!(plan(&session(dir.path()), sql), expected);
}

#[test]
fn equality_is_a_key_where_it_is_exact() {
    check(
        "SELECT 1 FROM samples WHERE guid = 'x' AND pid = 1",
        &["SCAN samples VIRTUAL TABLE INDEX 4:guid=? AND pid=? READS pid, guid"],
    );
    check(
        "SELECT 1 FROM samples WHERE name = 'x' COLLATE NOCASE",
        &["SCAN samples VIRTUAL TABLE INDEX 0: READS name"],
    );
    check(
        "SELECT 1 FROM samples WHERE name IN ('x', 'y')",
        &["SCAN samples VIRTUAL TABLE INDEX 0: READS name"],
    );
    check(
        "SELECT 1 FROM samples WHERE name = 'x' AND pid IN (1, 2)",
        &["SCAN samples VIRTUAL TABLE INDEX 4:name=? AND pid=? READS pid, name"],
    );
    check(
        "SELECT 1 FROM samples WHERE score = 1 OR score IS NULL",
        &["SCAN samples VIRTUAL TABLE INDEX 0: READS score"],
    );
}

#[test]
fn joins_look_up_the_inner_side() {
    check(
        "SELECT s.name FROM samples s JOIN others o ON s.guid = o.guid WHERE o.time >= 3",
        &[
            "SCAN o VIRTUAL TABLE INDEX 1:time>=? READS time, guid",
            "SCAN s VIRTUAL TABLE INDEX 4:guid=? READS guid, name",
        ],
    );
    check(
        "SELECT s.name FROM samples s LEFT JOIN others o ON s.guid = o.guid",
        &[
            "SCAN s VIRTUAL TABLE INDEX 0: READS guid, name",
            "SCAN o VIRTUAL TABLE INDEX 4:guid=? READS guid LEFT-JOIN",
        ],
    );
    check(
        "SELECT l.name FROM samples s, others o, letters l \
         WHERE s.guid = o.guid AND l.id = o.level AND s.time_ns = 7",
        &[
            "SCAN s VIRTUAL TABLE INDEX 3:time_ns=? READS guid, time_ns",
            "SCAN o VIRTUAL TABLE INDEX 4:guid=? READS guid, level",
            "SCAN l VIRTUAL TABLE INDEX 4:id=? READS id, name",
        ],
    );
}
