//! The iterator over tasks, which writes a record of each process into the ring.

use std::io::Read;

use aya::Ebpf;
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{Iter, ProgramFd};

use super::attach_error::{AttachError, explain};
use super::load::{TAIL_FILTER, TAIL_WALK, clone_fd, patiently, set_tail, take_map};

/// What the iterator is attached to.
const HOOK: &str = "iter/task";

const PROGRAM: &str = "snapshot";

/// The iterator, loaded.
pub(crate) struct TaskIterator {
    ebpf: Ebpf,
    /// The kernel empties such a map when nobody holds it.
    _tails: ProgramArray<MapData>,
    /// Processes that found no room, since the beginning.
    lost: Array<MapData, u64>,
    /// Of which so many were told.
    lost_told: u64,
}

impl TaskIterator {
    /// Loads the programs, with rules also the one that compares; they are given back, too.
    ///
    /// # Errors
    /// In words, when the kernel takes them not.
    pub(crate) fn load(
        mut ebpf: Ebpf,
        types: &aya::Btf,
        has_rules: bool,
    ) -> Result<(Self, Vec<ProgramFd>), String> {
        let walk = load(&mut ebpf, "snapshot_walk", types).map_err(words)?;
        let mut tails: ProgramArray<MapData> =
            take_map(&mut ebpf, "SNAPSHOT_WALK").map_err(words)?;
        set_tail(&mut tails, TAIL_WALK, &walk, "SNAPSHOT_WALK").map_err(words)?;
        let mut programs = vec![walk, load(&mut ebpf, PROGRAM, types).map_err(words)?];
        if has_rules {
            let filter = load(&mut ebpf, "snapshot_filter", types).map_err(words)?;
            set_tail(&mut tails, TAIL_FILTER, &filter, "SNAPSHOT_WALK").map_err(words)?;
            programs.push(filter);
        }
        let lost = take_map(&mut ebpf, "SNAPSHOT_LOST").map_err(words)?;
        Ok((Self { ebpf, _tails: tails, lost, lost_told: 0 }, programs))
    }

    /// Has every process written down.
    ///
    /// # Errors
    /// In words, when that failed, or some found no room in the ring.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let iterator = program(&mut self.ebpf, PROGRAM).map_err(words)?;
        let link = iterator.attach().and_then(|id| iterator.take_link(id));
        let file = link.map_err(|error| error.to_string())?.into_file();
        let mut output = Vec::new();
        file.map_err(|error| error.to_string())?
            .read_to_end(&mut output)
            .map_err(|error| format!("the iterator over tasks failed: {error}"))?;
        let lost = self.lost.get(&0, 0).map_err(|error| error.to_string())?;
        let untold = lost.saturating_sub(std::mem::replace(&mut self.lost_told, lost));
        match untold {
            0 => Ok(()),
            untold => Err(format!("{untold} of the processes found no room in the ring")),
        }
    }
}

fn words(error: AttachError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Iter, AttachError> {
    let found = ebpf.program_mut(name).ok_or(AttachError::Part { name })?;
    found.try_into().map_err(|source| AttachError::Attach { program: name, hook: HOOK, source })
}

fn load(ebpf: &mut Ebpf, name: &'static str, types: &aya::Btf) -> Result<ProgramFd, AttachError> {
    let loaded = program(ebpf, name)?;
    patiently(|| loaded.load("task", types)).map_err(|error| explain(name, HOOK, error))?;
    clone_fd(loaded.fd(), name, HOOK)
}
