//! The store against a vector: whatever is done to it, SQL over it says what was appended and not
//! given up.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bygone_store::sql::{ResultColumn, ResultSink, Session, SessionOptions};
use bygone_store::{Expired, Reader, Retention, Writer, WriterOptions};
use proptest::prelude::*;
use rusqlite::types::{Value, ValueRef};

use crate::fixture::{BOOT_ID, SampleEvents, TABLES, count, read_snapshot};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Step {
    /// Rows with times from one of the two ages on.
    Append(Vec<SampleEvents>),
    Sync,
    Tick,
    /// Seals and merges all that there is to be.
    Settle,
    /// Likewise with a bound on bytes, in parts of what there is: the oldest are given up.
    Expire(u64),
    /// A clean stop.
    Close,
    /// Gone without a word.
    Drop,
    Read(Question),
}

/// What a row must hold beside its time.
#[derive(Clone, Debug)]
enum Predicate {
    Any,
    PidIn(Vec<u32>),
    PidFrom(u32, u32),
    Path(String),
    NoPath,
    NoteLike(char),
    NoteGlob(char),
    Eid(i64),
}

#[derive(Clone, Debug)]
struct Question {
    from: i64,
    to: i64,
    predicate: Predicate,
    /// Ascending or descending, and how many rows at most.
    order: Option<(bool, usize)>,
}

impl Predicate {
    fn sql(&self) -> String {
        match self {
            Self::Any => "1".to_owned(),
            Self::PidIn(pids) => {
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                format!("pid IN ({})", pids.join(", "))
            }
            Self::PidFrom(from, to) => format!("pid BETWEEN {from} AND {to}"),
            Self::Path(path) => format!("path = '{path}'"),
            Self::NoPath => "path IS NULL".to_owned(),
            Self::NoteLike(letter) => format!("note LIKE '%{letter}%'"),
            Self::NoteGlob(letter) => format!("note GLOB '{letter}*'"),
            Self::Eid(eid) => format!("eid = {eid}"),
        }
    }

    fn holds(&self, eid: i64, row: &SampleEvents) -> bool {
        match self {
            Self::Any => true,
            Self::PidIn(pids) => pids.contains(&row.pid),
            Self::PidFrom(from, to) => (from..=to).contains(&&row.pid),
            Self::Path(path) => row.path.as_ref() == Some(path),
            Self::NoPath => row.path.is_none(),
            Self::NoteLike(letter) => {
                row.note.to_ascii_lowercase().contains(letter.to_ascii_lowercase())
            }
            Self::NoteGlob(letter) => row.note.starts_with(*letter),
            Self::Eid(wanted) => eid == *wanted,
        }
    }
}

impl Question {
    fn all() -> Self {
        Self { from: i64::MIN, to: i64::MAX, predicate: Predicate::Any, order: None }
    }

    fn sql(&self) -> String {
        let Self { from, to, predicate, order } = self;
        let order = order.map_or_else(String::new, |(ascending, limit)| {
            let direction = if ascending { "ASC" } else { "DESC" };
            format!(" ORDER BY time_ns {direction}, eid {direction} LIMIT {limit}")
        });
        format!(
            "SELECT eid, pid, path, time_ns, note FROM sample_events \
             WHERE time_ns BETWEEN {from} AND {to} AND {}{order}",
            predicate.sql()
        )
    }

    /// The answer, by number unless another order was asked for.
    fn answer(&self, model: &[(i64, SampleEvents)]) -> Vec<(i64, SampleEvents)> {
        let holds = |(eid, row): &&(i64, SampleEvents)| {
            (self.from..=self.to).contains(&row.time_ns) && self.predicate.holds(*eid, row)
        };
        let mut rows: Vec<_> = model.iter().filter(holds).cloned().collect();
        if let Some((ascending, limit)) = self.order {
            rows.sort_by_key(|(eid, row)| (row.time_ns, *eid));
            if !ascending {
                rows.reverse();
            }
            rows.truncate(limit);
        }
        rows
    }
}

/// The rows of a result.
#[derive(Default)]
struct Rows(Vec<(i64, SampleEvents)>);

impl ResultSink for Rows {
    fn start(&mut self, _: &[ResultColumn]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        let values: Vec<Value> = values.iter().map(|value| (*value).try_into().unwrap()).collect();
        let [
            Value::Integer(eid),
            Value::Integer(pid),
            path,
            Value::Integer(time_ns),
            Value::Text(note),
        ] = values.as_slice()
        else {
            panic!("{values:?}");
        };
        let path = match path {
            Value::Text(path) => Some(path.clone()),
            _ => None,
        };
        let (pid, time_ns) = (u32::try_from(*pid).unwrap(), *time_ns);
        self.0.push((*eid, SampleEvents { pid, path, time_ns, note: note.clone() }));
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ask(session: &Session, question: &Question) -> Vec<(i64, SampleEvents)> {
    let mut rows = Rows::default();
    let executed = session.execute(&question.sql(), &mut rows).unwrap();
    assert_eq!(executed.damage, []);
    if question.order.is_none() {
        rows.0.sort_by_key(|(eid, _)| *eid);
    }
    rows.0
}

/// Rows of today, which are in time, and of 1970, which are far out of it.
fn times() -> impl Strategy<Value = i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    prop_oneof![3 => (0i64..100).prop_map(move |step| now + step), 1 => -50i64..50]
}

fn row() -> impl Strategy<Value = SampleEvents> {
    let path = prop::option::of("[a-c]{0,2}");
    (0u32..20, path, times(), "[a-cA-C]{0,4}").prop_map(|(pid, path, time_ns, note)| SampleEvents {
        pid,
        path,
        time_ns,
        note,
    })
}

fn question() -> impl Strategy<Value = Question> {
    let predicate = prop_oneof![
        2 => Just(Predicate::Any),
        1 => prop::collection::vec(0u32..20, 1..4).prop_map(Predicate::PidIn),
        1 => (0u32..20, 0u32..20).prop_map(|(from, to)| Predicate::PidFrom(from, to)),
        1 => "[a-c]{0,2}".prop_map(Predicate::Path),
        1 => Just(Predicate::NoPath),
        1 => prop::char::range('a', 'c').prop_map(Predicate::NoteLike),
        1 => prop::char::range('A', 'C').prop_map(Predicate::NoteGlob),
        1 => (1i64..300).prop_map(Predicate::Eid),
    ];
    let bound = |edge: i64| prop_oneof![1 => Just(edge), 2 => times()];
    let order = prop::option::of((any::<bool>(), 0usize..30));
    (bound(i64::MIN), bound(i64::MAX), predicate, order)
        .prop_map(|(from, to, predicate, order)| Question { from, to, predicate, order })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(row(), 0..40).prop_map(Step::Append),
        1 => Just(Step::Sync),
        1 => Just(Step::Tick),
        2 => Just(Step::Settle),
        1 => (1u64..10).prop_map(Step::Expire),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
        6 => question().prop_map(Step::Read),
    ]
}

fn open(dir: &Path, journal_bytes: u64, max_bytes: Option<u64>) -> Writer {
    let mut options = WriterOptions::new(BOOT_ID);
    options.journal_bytes_max = journal_bytes;
    options.seal_wait = Duration::ZERO;
    options.retention = Retention { max_bytes, ..Retention::default() };
    let (writer, opened) = Writer::open(dir, TABLES, options).unwrap();
    assert_eq!(opened.recovered, []);
    writer
}

/// Takes what was given up from the model: as many rows as was said, and none newer than was said.
fn forget(model: &mut Vec<(i64, SampleEvents)>, expired: &[Expired], left: &[(i64, SampleEvents)]) {
    let rows: u64 = expired.iter().map(|expired| expired.rows).sum();
    let newest = expired.iter().map(|expired| expired.time_ns.1).max().unwrap_or(i64::MIN);
    let before = model.len() as u64;
    model.retain(|(eid, row)| {
        let is_left = left.binary_search_by_key(eid, |(eid, _)| *eid).is_ok();
        assert!(is_left || row.time_ns <= newest, "row {eid} is gone and was not given up");
        is_left
    });
    assert_eq!(before - model.len() as u64, rows, "rows that are gone, and those given up");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn holds_what_was_appended(
        steps in prop::collection::vec(step(), 1..40),
        journal_bytes in 1_500u64..6_000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut model: Vec<(i64, SampleEvents)> = Vec::new();
        let mut last = 0;
        let mut writer = Some(open(dir.path(), journal_bytes, None));
        let reader = Reader::open(dir.path()).unwrap();
        let session = Session::open(SessionOptions {
            data_dir: dir.path().to_path_buf(),
            events: TABLES,
            states: &[],
        })
        .unwrap();
        let end = [Step::Read(Question::all()), Step::Close, Step::Read(Question::all())];
        for step in steps.into_iter().chain(end) {
            let open_now = writer.get_or_insert_with(|| open(dir.path(), journal_bytes, None));
            match step {
                Step::Append(rows) => {
                    let appended = open_now.append(rows.clone()).unwrap();
                    prop_assert_eq!(appended.map_or(0, |appended| appended.rows), rows.len() as u64);
                    let first = appended.map_or(0, |appended| appended.first_eid);
                    prop_assert!(rows.is_empty() || first > last);
                    last = appended.map_or(last, |appended| appended.last_eid);
                    model.extend((first..).zip(rows));
                }
                Step::Sync => drop(open_now.sync().unwrap()),
                Step::Tick => open_now.tick().unwrap(),
                Step::Settle => prop_assert!(open_now.settle(PATIENCE).unwrap()),
                Step::Expire(part) => {
                    prop_assert!(open_now.settle(PATIENCE).unwrap());
                    writer.take().unwrap().close().unwrap();
                    let kept = reader.snapshot().unwrap();
                    let bytes: u64 = kept.segments().map(|file| file.bytes).sum();
                    let mut bounded = open(dir.path(), journal_bytes, Some(bytes * part / 10));
                    prop_assert!(bounded.settle(PATIENCE).unwrap());
                    let expired = bounded.take_expired();
                    bounded.close().unwrap();
                    forget(&mut model, &expired, &ask(&session, &Question::all()));
                }
                Step::Close => writer.take().unwrap().close().unwrap(),
                Step::Drop => drop(writer.take()),
                Step::Read(question) => {
                    let found = ask(&session, &question);
                    prop_assert_eq!(&found, &question.answer(&model), "{}", question.sql());
                    let snapshot = reader.snapshot().unwrap();
                    let all = Question { predicate: Predicate::Any, order: None, ..question };
                    let expected = all.answer(&model);
                    prop_assert_eq!(count(&snapshot, all.from, all.to), expected.len());
                    prop_assert_eq!(read_snapshot(&snapshot, all.from, all.to), expected);
                    prop_assert_eq!(snapshot.damage(), []);
                }
            }
        }
    }
}
