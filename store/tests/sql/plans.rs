//! What the planner takes over, pinned by `EXPLAIN QUERY PLAN`.

use tempfile::TempDir;

use crate::fixture::{Store, other, plan, rows, sample, session};

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
        "SELECT 1 FROM samples WHERE name IN ('x', 'y') AND pid IN (1, 2)",
        &["SCAN samples VIRTUAL TABLE INDEX 4:name IN ? AND pid IN ? READS pid, name"],
    );
    check(
        "SELECT 1 FROM letters WHERE name IN ('x', 'y') AND id IN (1, 2)",
        &["SCAN letters VIRTUAL TABLE INDEX 4:id=? READS id, name"],
    );
    check(
        "SELECT 1 FROM samples WHERE score = 1 OR score IS NULL",
        &["SCAN samples VIRTUAL TABLE INDEX 0: READS score"],
    );
    check(
        "SELECT 1 FROM samples WHERE eid = 7",
        &["SCAN samples VIRTUAL TABLE INDEX 4:eid=? READS eid"],
    );
    check(
        "SELECT 1 FROM samples WHERE rowid = 7",
        &["SCAN samples VIRTUAL TABLE INDEX 4:eid=? READS nothing"],
    );
}

#[test]
fn other_tests_are_pushed_down() {
    let cases = [
        ("pid BETWEEN 1 AND 5", "pid>=? AND pid<=? READS pid"),
        ("name > 'm'", "name>? READS name"),
        ("name > 'm' COLLATE RTRIM", " READS name"),
        ("name LIKE '%x'", "name LIKE ? READS name"),
        ("name NOT LIKE '%x'", " READS name"),
        ("name LIKE 'x' ESCAPE 'y'", " READS name"),
        ("name GLOB '*x'", "name GLOB ? READS name"),
        ("name GLOB 'x*'", "name>=? AND name<? AND name GLOB ? READS name"),
        ("pid LIKE '1%'", " READS pid"),
        ("label IS NULL", "label IS NULL READS label"),
        ("label IS NOT NULL", "label IS NOT NULL READS label"),
        ("data IS NULL", "data IS NULL READS data"),
        ("label IS 'x'", "label IS ? READS label"),
        ("boot_id = 'x'", "boot_id=? READS boot_id"),
        ("guid LIKE 'x%'", " READS guid"),
        ("score > 1", " READS score"),
        ("uptime > 1", " READS uptime"),
        ("name <> 'x'", " READS name"),
    ];
    let session = store().session();
    for (condition, expected) in cases {
        let lines = plan(&session, &format!("SELECT 1 FROM samples WHERE {condition}"));
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let (_, found) = line.split_once(':').unwrap();
        assert_eq!(found, expected, "{condition}");
    }
}

/// Whether SQLite sorts.
fn sorts(sql: &str) -> bool {
    let all = rows(&store().session(), &format!("EXPLAIN QUERY PLAN {sql}"));
    all.iter().any(|row| format!("{row:?}").contains("TEMP B-TREE"))
}

#[test]
fn an_order_by_time_needs_no_sort() {
    let granted = [
        ("time_ns", " BY TIME"),
        ("time_ns DESC", " BY TIME DESC"),
        ("time", " BY TIME"),
        ("time DESC, time_ns DESC, eid DESC", " BY TIME DESC"),
        ("time_ns DESC, eid DESC, name", " BY TIME DESC"),
        ("time_ns, rowid", " BY TIME"),
    ];
    for (order, suffix) in granted {
        let sql = format!("SELECT pid FROM samples ORDER BY {order}");
        let lines = plan(&store().session(), &sql);
        assert!(lines[0].ends_with(suffix) && !sorts(&sql), "{order}: {lines:?}");
    }
    for order in ["eid", "time, eid", "time_ns DESC, eid", "name", "time_ns + 0", "time, name"] {
        let sql = format!("SELECT pid FROM samples ORDER BY {order}");
        assert!(sorts(&sql), "{order}");
    }
    check(
        "SELECT pid FROM samples WHERE name = 'x' ORDER BY time_ns DESC LIMIT 20 OFFSET 5",
        &["SCAN samples VIRTUAL TABLE INDEX 20:name=? READS pid, name, time_ns BY TIME DESC"],
    );
    assert!(!sorts("SELECT time, count(*) FROM samples GROUP BY time"));
    assert!(!sorts("SELECT DISTINCT time_ns FROM samples"));
}

#[test]
fn groups_are_counted_and_not_sorted() {
    let cases = [
        ("name, count(*)", "", "GROUP BY name", "READS name GROUPED BY name"),
        ("name, count(*)", "", "GROUP BY name ORDER BY name", "READS name SORTED BY name"),
        ("name, count(*)", "", "GROUP BY name ORDER BY 2", "READS name GROUPED BY name"),
        (
            "pid, name, count(*)",
            "WHERE time_ns > 5",
            "GROUP BY name, pid",
            "time_ns>? READS pid, name, time_ns GROUPED BY name, pid",
        ),
        ("DISTINCT name", "", "", "READS name ONCE EACH name"),
        (
            "DISTINCT name, pid",
            "",
            "ORDER BY pid DESC, name",
            "READS pid, name SORTED ONCE EACH pid DESC, name",
        ),
        ("DISTINCT name", "WHERE pid = 5", "", "pid=? READS pid, name GROUPED BY name"),
        ("name", "", "ORDER BY name DESC LIMIT 3", "READS name SORTED BY name DESC"),
    ];
    let session = store().session();
    for (columns, condition, order, expected) in cases {
        let sql = format!("SELECT {columns} FROM samples {condition} {order}");
        let lines = plan(&session, &sql);
        assert!(lines[0].ends_with(expected), "{sql}: {lines:?}");
    }
    let not = [
        "SELECT name, max(pid) FROM samples GROUP BY name",
        "SELECT name, count(*) FROM samples WHERE pid + 0 > 5 GROUP BY name",
        "SELECT score, count(*) FROM samples GROUP BY score",
        "SELECT name COLLATE NOCASE, count(*) FROM samples GROUP BY 1",
        "SELECT id, count(*) FROM letters GROUP BY id",
    ];
    for sql in not {
        assert!(sorts(sql), "{sql}");
    }
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
