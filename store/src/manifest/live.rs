//! Segments on disk that no trusted entry of the manifest names, and which segments count when the
//! manifest cannot be trusted.
//!
//! # How the live set is rebuilt
//! Each segment says what its rows were taken from: at level 0 the journals that were sealed
//! together, at others the segments that were merged. Segments that were written together, by one
//! seal or one merge, count or do not count together; whether the step was finished, that is, its
//! entry was on disk before it was damaged, follows from what is there:
//!
//! - *A seal was finished* when one of its segments was merged since, or when one of its journals is
//!   gone: a journal is removed only after the entry. Else the journals count. Of several seals of
//!   one journal, since a failed one is tried again, that is the one that was merged since, else
//!   the last.
//! - *A merge was finished* when one of its segments was merged since, or when one of the segments
//!   that it replaces is gone and all of its own are there; or when all that it replaces are gone.
//!   Else the segments that it was to replace count.
//!
//! Of a step whose entry is trusted only those segments count that the entry names, and a segment
//! under another name than its own never does.
//!
//! A segment counts when its step was finished and no finished merge replaces it. That this is
//! enough rests on the order of deletions: a file is deleted only when all those that it replaced
//! are gone ([`crate::write`], removal), so that what replaces a file that is still there is there
//! itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::disk::Folder;
use crate::guard::Unreadable;
use crate::layout;
use crate::manifest::entry::{SegmentEntry, State};
use crate::segment::describe::{Described, describe};

/// What was found beside the manifest.
#[derive(Debug, Default)]
pub(crate) struct Unnamed {
    /// Segments that count although no trusted entry names them. Their hashes are empty.
    pub(crate) adopted: Vec<SegmentEntry>,
    /// Segments to put aside, relative to the data folder: left over from a step that was not
    /// finished, or replaced since.
    pub(crate) orphans: Vec<String>,
    /// Segments that cannot be read and may hold the only copy of their rows.
    pub(crate) unreadable: Vec<(String, Unreadable)>,
    /// Segments that a trusted entry names and that no longer count: an adopted one replaces them.
    pub(crate) replaced: Vec<String>,
    /// Segments that a trusted entry names and that are not there, of a manifest that is not
    /// whole: an entry that was lost may have removed them.
    pub(crate) missing: Vec<SegmentEntry>,
}

impl Unnamed {
    /// Adds to a state what counts, and takes away what does not.
    pub(crate) fn settle(&self, state: &mut State) {
        let missing = self.missing.iter().map(|file| &file.path);
        for path in self.replaced.iter().chain(missing) {
            state.files.remove(path);
        }
        state.add(&self.adopted);
    }
}

/// Looks at the segments on disk and compares them with `state`, which the trusted entries add up
/// to. `journals` are those on disk; `whole` says that the manifest ends whole and no journal is
/// missing, so that it can be trusted unless a segment says otherwise.
pub(crate) fn unnamed(
    dir: &Folder,
    state: &State,
    journals: &[u64],
    whole: bool,
) -> io::Result<Unnamed> {
    let waiting: BTreeSet<&str> = state.removed.iter().map(|file| file.path.as_str()).collect();
    let mut names = names(dir)?;
    names.retain(|name| !waiting.contains(name.as_str()));
    let there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let gone = |file: &&SegmentEntry| !there.contains(file.path.as_str());
    let missing: Vec<SegmentEntry> = state.files.values().filter(gone).cloned().collect();
    let strange: Vec<&String> =
        names.iter().filter(|name| !state.files.contains_key(*name)).collect();
    let known = |name: &&String| match layout::segment_number(name) {
        Some((0, number)) => number <= state.sealed_through,
        Some((_, number)) => number < state.next_number,
        None => false,
    };
    if missing.is_empty() && whole && strange.iter().all(known) {
        let orphans = strange.into_iter().cloned().collect();
        return Ok(Unnamed { orphans, ..Unnamed::default() });
    }
    let mut found = Found::new(state, journals);
    for name in &names {
        match describe(dir, name) {
            Ok(described) if described.written_as == *name => found.add(described),
            Ok(_copy) => found.copies.push(name.clone()),
            Err(error) => found.unreadable.push((name.clone(), error)),
        }
    }
    let mut unnamed = found.resolve(missing);
    if whole {
        // It was taken away by another hand, which readers and `verify` are to tell.
        unnamed.missing.clear();
    }
    Ok(unnamed)
}

/// What the segments on disk say of themselves.
struct Found<'a> {
    state: &'a State,
    journals: BTreeSet<u64>,
    segments: Vec<Described>,
    /// Paths of `segments`.
    there: BTreeSet<String>,
    /// Paths that some segment replaces.
    replaced: BTreeSet<String>,
    unreadable: Vec<(String, Unreadable)>,
    /// Paths of segments that have another name than they were given.
    copies: Vec<String>,
}

impl<'a> Found<'a> {
    fn new(state: &'a State, journals: &[u64]) -> Self {
        Self {
            state,
            journals: journals.iter().copied().collect(),
            segments: Vec::new(),
            there: BTreeSet::new(),
            replaced: BTreeSet::new(),
            unreadable: Vec::new(),
            copies: Vec::new(),
        }
    }

    fn add(&mut self, segment: Described) {
        self.there.insert(segment.entry.path.clone());
        self.replaced.extend(segment.replaces.iter().cloned());
        self.segments.push(segment);
    }

    fn resolve(self, missing: Vec<SegmentEntry>) -> Unnamed {
        let mut steps: BTreeMap<Step, Vec<&Described>> = BTreeMap::new();
        for segment in &self.segments {
            steps.entry(Step::of(segment)).or_default().push(segment);
        }
        let mut finished: Vec<&Described> = Vec::new();
        let mut unfinished: Vec<&Described> = Vec::new();
        for (step, segments) in &steps {
            let named = |segment: &&Described| self.state.files.contains_key(&segment.entry.path);
            if segments.iter().any(named) {
                // The entry that is trusted named all that were written: others are strays.
                let (own, strays): (Vec<_>, Vec<_>) = segments.iter().copied().partition(named);
                finished.extend(own);
                unfinished.extend(strays);
                continue;
            }
            let done = segments.iter().any(|segment| self.replaced.contains(&segment.entry.path))
                || match step {
                    Step::Seal { .. } => self.is_sealed(segments),
                    Step::Merge { .. } => self.is_merged(segments),
                };
            if done { finished.extend(segments) } else { unfinished.extend(segments) }
        }
        unfinished.extend(self.take_repeated(&mut finished));
        let replaces = finished.iter().flat_map(|segment| &segment.replaces);
        let replaced: BTreeSet<&String> = replaces.collect();
        let named = |path: &String| self.state.files.contains_key(path);
        let is_replaced = |path: &String| replaced.contains(path);

        let copies = self.copies.iter().filter(|path| !named(path)).cloned();
        let mut unnamed = Unnamed { orphans: copies.collect(), ..Unnamed::default() };
        for segment in &finished {
            let path = &segment.entry.path;
            match (named(path), is_replaced(path)) {
                (false, false) => unnamed.adopted.push(segment.entry.clone()),
                (false, true) => unnamed.orphans.push(path.clone()),
                (true, true) => {
                    unnamed.replaced.push(path.clone());
                    unnamed.orphans.push(path.clone());
                }
                (true, false) => {}
            }
        }
        unnamed.orphans.extend(unfinished.iter().map(|segment| segment.entry.path.clone()));
        unnamed.replaced.extend(
            missing.iter().map(|file| &file.path).filter(|path| is_replaced(path)).cloned(),
        );
        unnamed.missing = missing;
        unnamed.missing.retain(|file| !is_replaced(&file.path));
        for (path, error) in self.unreadable {
            if is_replaced(&path) {
                unnamed.orphans.push(path);
            } else if !named(&path) {
                unnamed.unreadable.push((path, error));
            }
        }
        unnamed
    }

    /// Takes out the segments of a seal that failed and was tried again, with more journals or
    /// fewer.
    fn take_repeated<'b>(&self, finished: &mut Vec<&'b Described>) -> Vec<&'b Described> {
        let mut seals: BTreeMap<u64, Vec<&Described>> = BTreeMap::new();
        for segment in finished.iter().filter(|segment| !segment.journals.is_empty()) {
            seals.entry(segment.entry.journal).or_default().push(segment);
        }
        let mut seals: Vec<Vec<&Described>> = seals.into_values().collect();
        seals.sort_by_cached_key(|segments| {
            let named = segments.iter().any(|s| self.state.files.contains_key(&s.entry.path));
            let merged = segments.iter().any(|s| self.replaced.contains(&s.entry.path));
            let last = segments.iter().map(|s| (s.entry.sealed_ns, s.entry.journal)).max();
            Reverse((named, merged, last))
        });
        let (mut sealed, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        for segments in seals {
            let journals: BTreeSet<u64> =
                segments.iter().flat_map(|segment| &segment.journals).copied().collect();
            match sealed.is_disjoint(&journals) {
                true => sealed.extend(journals),
                false => repeated.extend(segments.iter().map(|s| s.entry.path.clone())),
            }
        }
        finished.extract_if(.., |segment| repeated.contains(&segment.entry.path)).collect()
    }

    /// Whether journals were removed because these were sealed from them.
    fn is_sealed(&self, segments: &[&Described]) -> bool {
        let mut journals = segments.iter().flat_map(|segment| &segment.journals);
        // Those that a trusted entry has removed say nothing: their segments were named.
        journals
            .any(|number| *number > self.state.sealed_through && !self.journals.contains(number))
    }

    fn is_merged(&self, segments: &[&Described]) -> bool {
        let replaces = || segments.iter().flat_map(|segment| &segment.replaces);
        let gone = |path: &String| !self.there.contains(path);
        let mut parts: Vec<(u32, bool)> = segments.iter().map(|s| (s.part, s.last)).collect();
        parts.sort_unstable();
        let in_turn = parts.iter().zip(0..).all(|((part, _), expected)| *part == expected);
        let complete = in_turn && parts.last().is_some_and(|(_, last)| *last);
        replaces().all(gone) || (complete && replaces().any(gone))
    }
}

/// What wrote a segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The journals up to this one were sealed, of all tables.
    Seal { journal: u64 },
    /// Segments of one table were merged.
    Merge { table: String, level: u32, number: u64 },
}

impl Step {
    fn of(segment: &Described) -> Self {
        let entry = &segment.entry;
        match layout::segment_number(&entry.path) {
            Some((level @ 1.., number)) => {
                Self::Merge { table: entry.table.clone(), level, number }
            }
            _ => Self::Seal { journal: entry.journal },
        }
    }
}

/// All segments on disk, relative to the data folder.
fn names(dir: &Folder) -> io::Result<Vec<String>> {
    let segments = layout::segments_dir(dir.path());
    let mut names = Vec::new();
    for table in dir.names(&segments)? {
        let path = segments.join(&table);
        if !dir.is_dir(&path) {
            continue;
        }
        for name in dir.names(&path)? {
            let extension = name.rsplit_once('.').map(|(_, extension)| extension);
            if extension == Some(layout::SEGMENT_EXTENSION) {
                names.push(format!("segments/{table}/{name}"));
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(journals: &[u64], sealed_ns: i64) -> Described {
        let journal = journals.iter().copied().max().unwrap();
        let path = layout::segment_name("small_events", false, 0, journal, 0);
        let entry = SegmentEntry {
            path: path.clone(),
            table: "small_events".to_owned(),
            level: 0,
            late: false,
            first_journal: journals[0],
            journal,
            sha256: String::new(),
            bytes: 1,
            rows: 1,
            first_eid: 1,
            last_eid: 1,
            min_time_ns: 1,
            max_time_ns: 1,
            sealed_ns,
        };
        let (journals, replaces) = (journals.to_vec(), Vec::new());
        Described { entry, journals, replaces, written_as: path, part: 0, last: true }
    }

    fn adopted(segments: &[Described]) -> Vec<u64> {
        let state = State::default();
        let mut found = Found::new(&state, &[]);
        segments.iter().cloned().for_each(|segment| found.add(segment));
        let unnamed = found.resolve(Vec::new());
        assert_eq!(unnamed.adopted.len() + unnamed.orphans.len(), segments.len());
        unnamed.adopted.iter().map(|file| file.journal).collect()
    }

    #[test]
    fn of_seals_of_one_journal_the_last_counts() {
        let tries = [sealed(&[1, 2], 10), sealed(&[1, 2, 3], 20)];
        assert_eq!(adopted(&tries), [3]);
        let fewer = [sealed(&[1, 2, 3], 10), sealed(&[1, 2], 20), sealed(&[3, 4], 30)];
        assert_eq!(adopted(&fewer), [2, 4]);
    }

    #[test]
    fn what_was_merged_since_was_finished() {
        let mut tries = vec![sealed(&[1, 2], 10), sealed(&[1, 2, 3], 20)];
        let mut merged = sealed(&[9], 10);
        merged.entry.path = layout::segment_name("small_events", false, 1, 1, 0);
        merged.entry.level = 1;
        merged.journals.clear();
        merged.replaces = vec![tries[0].entry.path.clone(), "gone".to_owned()];
        merged.written_as = merged.entry.path.clone();
        tries.push(merged);
        // The journals of the one that was merged are in the result.
        assert_eq!(adopted(&tries), [9]);
    }
}
