//! The store against a vector: whatever is done to it, it holds what was appended.

use std::time::Duration;

use bygone_store::Reader;
use proptest::prelude::*;

use crate::fixture::{SampleEvents, count, open_small, read_snapshot};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<SampleEvents>),
    Sync,
    Tick,
    /// Rotation, sealing, and merging of what is to be merged.
    Settle,
    /// A clean stop.
    Close,
    /// Gone without a word.
    Drop,
    Read(i64, i64),
}

fn row() -> impl Strategy<Value = SampleEvents> {
    let path = prop::option::of("[a-z/]{0,12}");
    (any::<u32>(), path, -50i64..50, "\\PC{0,20}")
        .prop_map(|(pid, path, time_ns, note)| SampleEvents { pid, path, time_ns, note })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(row(), 0..40).prop_map(Step::Append),
        1 => Just(Step::Sync),
        1 => Just(Step::Tick),
        1 => Just(Step::Settle),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
        3 => (-60i64..60, -60i64..60).prop_map(|(from, to)| Step::Read(from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn holds_what_was_appended(
        steps in prop::collection::vec(step(), 1..40),
        journal_bytes in 1_500u64..6_000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut model: Vec<(i64, SampleEvents)> = Vec::new();
        let mut writer = Some(open_small(dir.path(), journal_bytes).0);
        let reader = Reader::open(dir.path()).unwrap();
        for step in steps.into_iter().chain([Step::Read(-60, 60), Step::Close, Step::Read(-60, 60)]) {
            let open = writer.get_or_insert_with(|| {
                let (writer, opened) = open_small(dir.path(), journal_bytes);
                assert_eq!(opened.recovered, []);
                writer
            });
            match step {
                Step::Append(rows) => {
                    let appended = open.append(rows.clone()).unwrap();
                    prop_assert_eq!(appended.map_or(0, |appended| appended.rows), rows.len() as u64);
                    let first = appended.map_or(0, |appended| appended.first_eid);
                    let last = model.last().map_or(0, |(eid, _)| *eid);
                    prop_assert!(rows.is_empty() || first > last);
                    model.extend((first..).zip(rows));
                }
                Step::Sync => drop(open.sync().unwrap()),
                Step::Tick => open.tick().unwrap(),
                Step::Settle => prop_assert!(open.settle(Duration::from_secs(60)).unwrap()),
                Step::Close => writer.take().unwrap().close().unwrap(),
                Step::Drop => drop(writer.take()),
                Step::Read(from, to) => {
                    let snapshot = reader.snapshot().unwrap();
                    let in_range = |(_, row): &&(i64, SampleEvents)| (from..=to).contains(&row.time_ns);
                    let expected: Vec<_> = model.iter().filter(in_range).cloned().collect();
                    prop_assert_eq!(count(&snapshot, from, to), expected.len());
                    prop_assert_eq!(read_snapshot(&snapshot, from, to), expected);
                    prop_assert_eq!(snapshot.damage(), []);
                }
            }
        }
    }
}
