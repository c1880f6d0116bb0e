//! Which processes are left out: rules made of the configuration, and what is told of who fell under one.

#[cfg(feature = "decode")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Header, Process};

/// The global `FILTERS`: there are users to leave out.
pub const FILTER_USERS: u32 = 1;
/// There are rules about the path of a program.
pub const FILTER_PATHS: u32 = 1 << 1;
/// There are rules about the path of the program that the parent runs.
pub const FILTER_PARENTS: u32 = 1 << 2;
/// There are rules about the path of the cgroup.
pub const FILTER_CGROUPS: u32 = 1 << 3;

/// Rules about paths, of all kinds together.
pub const RULES_MAX: u32 = 64;
/// Bytes of the path in a rule at most, as the walks write it: without the slash in front, each name
/// with a terminator.
pub const RULE_BYTES_MAX: usize = 255;
/// Words of [`Rule::words`]; they hold one byte more, which may be the terminator of the name below.
pub const RULE_WORDS: usize = 32;
/// Users that can be left out.
pub const FILTER_USERS_MAX: u32 = 64;
/// Processes that are remembered as left out, or as those whose children are.
pub const MARKS_MAX: u32 = 16_384;
/// Processes that were left out and whose ends are remembered for a moment.
pub const ENDED_MARKS_MAX: u32 = 1024;

/// [`Rule::reach`]: the path itself.
pub const REACH_ITSELF: u32 = 0;
/// [`Rule::reach`]: the path and all below it.
pub const REACH_BELOW: u32 = 1;

/// A path. Walks write names leaf first, so that what lies below a path ends with its names, and a
/// rule is a comparison of ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Rule {
    /// The names, leaf first, each with its terminator; they end with the last byte of the last word,
    /// and zeros stand before them.
    pub words: [u64; RULE_WORDS],
    /// Which bytes of the first word in use belong to the names.
    pub mask: u64,
    /// Index of that word.
    pub first: u32,
    /// Bytes of the names.
    pub bytes: u32,
    /// What is compared: `FILTER_PATHS`, `FILTER_PARENTS` or `FILTER_CGROUPS`.
    pub what: u32,
    /// A `REACH_…`.
    pub reach: u32,
}

/// [`Mark::marks`]: its events are left out.
pub const MARK_LEFT_OUT: u32 = 1;
/// [`Mark::marks`]: the programs that its children start are.
pub const MARK_PARENT: u32 = 1 << 1;

/// What was found of a process when it started its program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Mark {
    /// Start of the process: ids are given again.
    pub start_ns: u64,
    /// `MARK_…` flags.
    pub marks: u32,
    /// Always 0.
    pub reserved: u32,
}

/// From now on a process that was recorded is left out: it is no more to be waited for.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "decode", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[repr(C)]
pub struct LeftOutRecord {
    /// Kind, length, time.
    pub header: Header,
    /// The process.
    pub process: Process,
}

const _: () = {
    assert!(size_of::<Rule>() == RULE_WORDS * 8 + 24);
    assert!(size_of::<Mark>() == 16);
    assert!(size_of::<LeftOutRecord>() == 32);
    assert!(RULE_BYTES_MAX < RULE_WORDS * 8);
};
