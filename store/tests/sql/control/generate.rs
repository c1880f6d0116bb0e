//! Statements made by chance, each from a seed or from bytes.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// Numbers by chance: those of some bytes first, one byte each, then splitmix64. One seed, or one
/// row of bytes, gives one sequence.
pub(crate) struct Chance {
    bytes: VecDeque<u8>,
    state: u64,
}

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { bytes: VecDeque::new(), state: seed }
    }

    /// Numbers that a fuzzer can change one by one.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.iter().copied().collect(), state: 0 }
    }

    pub(crate) fn number(&mut self) -> u64 {
        if let Some(byte) = self.bytes.pop_front() {
            return u64::from(byte);
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const SAMPLES: &[&str] = &[
    "time", "time_ns", "time_ns", "pid", "start_ns", "guid", "name", "label", "score", "level",
    "flag", "big", "data", "uptime", "eid", "boot_ns", "boot_id", "rowid", "name", "label",
];

const OTHERS: &[&str] =
    &["time", "time_ns", "pid", "start_ns", "guid", "name", "level", "eid", "boot_ns"];

/// Values on both sides of every edge, in every type. `rows` has the rows' own edges.
pub(crate) const LITERALS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "5",
    "10",
    "1000000000",
    "-1000000000",
    "5000000000",
    "5999999999",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036",
    "-9223372037",
    "9223372037",
    "5.0",
    "5.5",
    "-0.5",
    "0.0",
    "-1.0",
    "1e300",
    "-1e300",
    "9223372036854775808.0",
    "-9223372036854775808.0",
    "9e999",
    "-9e999",
    "NULL",
    "'5'",
    "'05'",
    "' 5 '",
    "'5.0'",
    "'5.5'",
    "'5e0'",
    "'-1'",
    "'a'",
    "'A'",
    "'abc'",
    "''",
    "'9223372036854775808'",
    "'0x5'",
    "'5 x'",
    "x'35'",
    "x''",
    "x'00ff'",
    "'abcdef01-5-32'",
    "'ABCDEF01-5-32'",
    "'abcdef01-1-a'",
    "TRUE",
    "ns('@5')",
    "CAST(5 AS TEXT)",
    "CAST('5' AS INTEGER)",
];

const COMPARISONS: &[&str] = &["=", "=", "=", "<", "<=", ">", ">=", "<>", "IS", "IS NOT"];

/// Of `LIKE` and `GLOB` both.
const PATTERNS: &[&str] = &[
    "'a%'",
    "'%5%'",
    "'A_c'",
    "'abcdef01-%'",
    "''",
    "'%'",
    "'ab%C'",
    "'%b%'",
    "'é'",
    "'É'",
    "'_'",
    "'5.%'",
    "'% 5 %'",
    "'a*'",
    "'*5*'",
    "'A?c'",
    "'?'",
    "'[a-c]*'",
    "'[^a]*'",
    "'[]a]*'",
    "'a[b-'",
    "'*'",
    "NULL",
    "5",
    "x'61'",
    "'a' || '%'",
    "b.name",
    "a.label",
];

const JOINS: &[&str] = &["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", ","];

/// A table of a statement under its alias.
#[derive(Clone, Copy)]
struct Source {
    alias: &'static str,
    columns: &'static [&'static str],
}

/// A statement, and whether its rows have an order.
pub(crate) fn statement(chance: &mut Chance) -> (String, bool) {
    if chance.one_in(4) {
        return grouping(chance);
    }
    let (from, sources) = from(chance);
    let mut sql = String::new();
    let aggregate = chance.one_in(4);
    let group = aggregate.then(|| column(chance, &sources)).filter(|_| !chance.one_in(3));
    if let Some(group) = &group {
        write!(sql, "SELECT {group}, count(*), min({}), max(", column(chance, &sources)).unwrap();
        write!(sql, "{}) {from}", column(chance, &sources)).unwrap();
    } else if aggregate {
        let counted = column(chance, &sources);
        write!(sql, "SELECT count(*), count({counted}), count(DISTINCT {counted}) {from}").unwrap();
    } else {
        let distinct = if chance.one_in(6) { "DISTINCT " } else { "" };
        let columns: Vec<String> =
            (0..=chance.below(4)).map(|_| column(chance, &sources)).collect();
        write!(sql, "SELECT {distinct}{} {from}", columns.join(", ")).unwrap();
    }
    if !chance.one_in(8) {
        write!(sql, " WHERE {}", condition(chance, &sources, 3)).unwrap();
    }
    if let Some(group) = &group {
        write!(sql, " GROUP BY {group}").unwrap();
    }
    let ordered = !aggregate && !sql.contains("DISTINCT") && chance.one_in(3);
    if ordered {
        order(chance, &sources, &mut sql);
    }
    (sql, ordered)
}

/// Columns that rows are grouped or sorted by and hardly anything else of the rows, and whether the
/// order is total: by all that is selected.
fn grouping(chance: &mut Chance) -> (String, bool) {
    let (from, sources) = if chance.one_in(3) {
        from(chance)
    } else {
        ("FROM samples a".to_owned(), vec![Source { alias: "a", columns: SAMPLES }])
    };
    let source = sources[chance.below(sources.len())];
    let plain = ["pid", "name", "level", "start_ns", "name", "label", "flag", "time_ns", "time"];
    let known: Vec<&str> =
        plain.into_iter().filter(|column| source.columns.contains(column)).collect();
    let columns: Vec<String> = (0..=chance.below(3))
        .map(|_| format!("{}.{}", source.alias, chance.pick(&known)))
        .collect();
    let list = columns.join(", ");
    let condition = if chance.one_in(3) {
        String::new()
    } else {
        let alias = source.alias;
        let first = match chance.below(7) {
            0 => format!("{alias}.time_ns > {}", chance.pick(LITERALS)),
            1 => format!("{alias}.time < ns('@5')"),
            2 => format!("{alias}.name IN ('a', 'abc', '5')"),
            3 => format!("{alias}.name = 'a'"),
            4 => format!("{alias}.rowid > 3"),
            5 => format!("{alias}.rowid % 3 = 2"),
            _ => condition(chance, &sources, 1),
        };
        if chance.one_in(4) {
            format!(" WHERE {first} AND {}", condition(chance, &sources, 1))
        } else {
            format!(" WHERE {first}")
        }
    };
    let directions: Vec<String> =
        columns.iter().map(|column| format!("{column}{}", chance.pick(&["", " DESC"]))).collect();
    let order = directions.join(", ");
    let other = column(chance, &sources);
    match chance.below(9) {
        0 => (format!("SELECT DISTINCT {list} {from}{condition}"), false),
        1 => (format!("SELECT DISTINCT {list} {from}{condition} ORDER BY {order}"), true),
        2 => (format!("SELECT count(DISTINCT {}) {from}{condition}", columns[0]), false),
        3 => (format!("SELECT {list} {from}{condition} ORDER BY {order} LIMIT 9"), true),
        4 => (format!("SELECT {list} {from}{condition} ORDER BY {order}"), true),
        5 => {
            let sums = format!("count(*), max({other}), count(DISTINCT {other})");
            (format!("SELECT {list}, {sums} {from}{condition} GROUP BY {list}"), false)
        }
        6 => {
            let sums = format!("count(*), sum({}.rowid)", source.alias);
            (format!("SELECT {list}, {sums} {from}{condition} GROUP BY {list}"), false)
        }
        7 => {
            let counted = format!("SELECT {list}, count(*) {from}{condition} GROUP BY {list}");
            (format!("{counted} ORDER BY {order}"), true)
        }
        _ => {
            let having = if chance.one_in(2) { " HAVING count(*) > 1" } else { "" };
            (format!("SELECT {list}, count(*) {from}{condition} GROUP BY {list}{having}"), false)
        }
    }
}

/// A total order, and perhaps a limit.
fn order(chance: &mut Chance, sources: &[Source], sql: &mut String) {
    let direction = chance.pick(&["", " DESC"]);
    let first = match chance.below(5) {
        0 => format!("{}.time_ns{direction}", sources[0].alias),
        1 => format!("{0}.time{direction}, {0}.time_ns{direction}", sources[0].alias),
        2 => format!("{0}.time_ns{direction}, {0}.eid{direction}", sources[0].alias),
        _ => format!("{}{direction}", column(chance, sources)),
    };
    let last = chance.pick(&[direction, ""]);
    write!(sql, " ORDER BY {first}").unwrap();
    for source in sources {
        write!(sql, ", {}.eid{last}", source.alias).unwrap();
    }
    if chance.one_in(2) {
        write!(sql, " LIMIT {}", chance.below(6)).unwrap();
        if chance.one_in(2) {
            write!(sql, " OFFSET {}", chance.below(6)).unwrap();
        }
    }
}

fn from(chance: &mut Chance) -> (String, Vec<Source>) {
    let aliases = ["a", "b", "c"];
    let count = [1, 1, 1, 2, 2, 3][chance.below(6)];
    let mut sources: Vec<Source> = Vec::new();
    let mut sql = String::from("FROM ");
    for alias in aliases.into_iter().take(count) {
        let (table, columns) =
            if chance.one_in(2) { ("samples", SAMPLES) } else { ("others", OTHERS) };
        let join = chance.pick(JOINS);
        if !sources.is_empty() {
            write!(sql, " {join} ").unwrap();
        }
        write!(sql, "{table} {alias}").unwrap();
        let first = sources.is_empty();
        sources.push(Source { alias, columns });
        if !first && join != "," && join != "CROSS JOIN" {
            write!(sql, " ON {}", join_condition(chance, &sources)).unwrap();
        }
    }
    (sql, sources)
}

/// The last source joined to one before it, mostly by equality.
fn join_condition(chance: &mut Chance, sources: &[Source]) -> String {
    let (last, before) = sources.split_last().unwrap();
    let other = before[chance.below(before.len())];
    let shared = ["guid", "pid", "start_ns", "name", "level", "time", "time_ns", "eid"];
    let (mut left, mut right) = (chance.pick(&shared), "");
    if chance.one_in(4) {
        left = chance.pick(last.columns);
        right = chance.pick(other.columns);
    }
    let right = if right.is_empty() { left } else { right };
    let comparison =
        if chance.one_in(5) { chance.pick(COMPARISONS) } else { chance.pick(&["=", "IS"]) };
    let mut sql = format!("{}.{left} {comparison} {}.{right}", last.alias, other.alias);
    if chance.one_in(3) {
        write!(sql, " AND {}", condition(chance, sources, 1)).unwrap();
    }
    sql
}

fn column(chance: &mut Chance, sources: &[Source]) -> String {
    let source = sources[chance.below(sources.len())];
    format!("{}.{}", source.alias, chance.pick(source.columns))
}

fn condition(chance: &mut Chance, sources: &[Source], depth: usize) -> String {
    if depth > 0 && chance.one_in(2) {
        let left = condition(chance, sources, depth - 1);
        let right = condition(chance, sources, depth - 1);
        return match chance.below(5) {
            0 | 1 => format!("({left} OR {right})"),
            2 => format!("NOT ({left})"),
            _ => format!("{left} AND {right}"),
        };
    }
    let column = column(chance, sources);
    let comparison = chance.pick(COMPARISONS);
    let literal = chance.pick(LITERALS);
    match chance.below(13) {
        0 => format!("{literal} {comparison} {column}"),
        1 => {
            let list: Vec<&str> = (0..=chance.below(4)).map(|_| chance.pick(LITERALS)).collect();
            let not = if chance.one_in(4) { "NOT " } else { "" };
            format!("{column} {not}IN ({literal}, {})", list.join(", "))
        }
        2 => format!("{column} BETWEEN {literal} AND {}", chance.pick(LITERALS)),
        3 => format!("{column} {}", chance.pick(&["IS NULL", "IS NOT NULL", "NOTNULL"])),
        4 => {
            // Names of the first two sources' columns stand only where both are there.
            let pattern = match chance.pick(PATTERNS) {
                "b.name" if sources.len() < 2 => "'b.n_me'",
                "a.label" if !sources.first().is_some_and(|a| a.columns.contains(&"label")) => {
                    "'a.l%'"
                }
                pattern => pattern,
            };
            let operator = chance.pick(&["LIKE", "LIKE", "GLOB", "NOT LIKE"]);
            let escape = if operator == "LIKE" && chance.one_in(6) { " ESCAPE 'b'" } else { "" };
            format!("{column} {operator} {pattern}{escape}")
        }
        5 => {
            format!("{column} {comparison} {literal} COLLATE {}", chance.pick(&["NOCASE", "RTRIM"]))
        }
        6 => format!(
            "({column}, {}) {} ({literal}, 5)",
            self::column(chance, sources),
            chance.pick(&["=", "<", ">="])
        ),
        7 => format!("{column} {comparison} {}", self::column(chance, sources)),
        // Not text beside numbers: of a list of rows SQLite tells a virtual table nothing but
        // equalities, and then compares these as text, unlike on an ordinary table.
        8 if chance.one_in(3) => {
            let (numbers, alias) = (["pid", "level", "eid", "start_ns"], sources[0].alias);
            let mut number = || chance.pick(&numbers);
            let (a, b, x, y) = (number(), number(), number(), number());
            format!("({alias}.{a}, {alias}.{b}) IN (SELECT x.{x}, x.{y} FROM others x)")
        }
        8 => format!(
            "{column} IN (SELECT x.{} FROM others x WHERE x.level {comparison} {literal})",
            chance.pick(OTHERS)
        ),
        9 => {
            format!("EXISTS (SELECT 1 FROM samples x WHERE x.{} = {column})", chance.pick(SAMPLES))
        }
        _ => format!("{column} {comparison} {literal}"),
    }
}
