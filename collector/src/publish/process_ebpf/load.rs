//! Loading the programs into the kernel, attaching them, and seeing them fire.

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use aya::maps::{Array, MapData, ProgramArray, RingBuf};
use aya::programs::{BtfTracePoint, Program, ProgramError, ProgramFd, RawTracePoint};
use aya::{Ebpf, EbpfLoader};
use bygone_probe_abi::{
    CLASSES, COUNTERS_MAX, Counter, IMAGES_ALL, IMAGES_FIRST, IMAGES_NONE, LIFE_CLASSES,
    SIGNALS_ALL, SIGNALS_FATAL, SIGNALS_NONE, SLOTS_PER_CPU,
};

use super::attach_error::{AttachError, explain, forbidden, refused};
use super::calls::{self, WatchedCalls};
use super::filter::Filter;
use super::iterate::TaskIterator;
use super::ledger::{Counts, LeftOut};
use super::links::RawLink;
use super::mapped::Words;
use super::offsets::{Resolved, resolve};
use super::spare::{OfLives, SparePrograms};
use super::sys::program_counts;
use super::{ProcessEbpfConfig, audit, clock, is_by_call};
use crate::host::images::ImageChoice;
use crate::host::signals::SignalChoice;
use crate::publish::btf::Btf;

/// Size of the ring buffer unless configured otherwise.
pub const RING_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;

/// Size of the ring of long arguments and environments unless configured otherwise.
pub const BULK_BYTES_DEFAULT: u32 = 4 * 1024 * 1024;

/// Ends of processes remembered where the kernel does not say which thread was the last.
const ENDED_MAX: u32 = 16_384;
/// The same map where it is not used.
const ENDED_UNUSED: u32 = 128;

/// Counters of one CPU.
const COUNTERS_PER_CPU: usize = COUNTERS_MAX as usize;
/// Words of 8 bytes in a counter.
const COUNTER_WORDS: usize = size_of::<Counter>() / size_of::<u64>();

/// How often loading one program is tried when the kernel says to try again.
const LOAD_TRIES: u32 = 10;

/// The programs, built by `cargo xtask build-ebpf` from `ebpf-probes` and committed.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../ebpf-probes/bygone.bpf.o"
));

/// Marks that there can be: of threads between the first and the last program of a tracepoint, and those
/// left behind.
const TAKEN_MAX: u32 = 16_384;

/// The programs of a class, the spares last, and their tracepoint. The kernel keeps 15 bytes of a name.
type Hook = ([&'static str; 3], &'static str);

const EXEC: Hook = (["exec", "exec_spare", "exec_last"], "sched_process_exec");
const FORK: Hook = (["fork", "fork_spare", "fork_last"], "task_newtask");
const EXIT: Hook = (["exit_group_dead", "exit_dead_spare", "exit_dead_last"], "sched_process_exit");
const EXIT_FALLBACK: Hook =
    (["exit_live", "exit_live_spare", "exit_live_last"], "sched_process_exit");

/// Entries of the arrays of programs that others call.
pub(super) const TAIL_WALK: u32 = 0;
const TAIL_PARTS: u32 = 1;
pub(super) const TAIL_FILTER: u32 = 2;

/// Class, program and tracepoint of what processes do to others, apart from system calls.
const ACTS: [(&str, &str, &str); 3] = [
    ("signal", "signal", "signal_generate"),
    ("module", "module_load", "module_load"),
    ("module", "module_free", "module_free"),
];

/// What the tracepoints of system calls do not see.
const COMPATIBILITY: &str = "system calls of 32-bit programs";

/// Programs at work, and what is needed to read them.
pub(crate) struct Attached {
    /// Where the records come from.
    pub(crate) ring: RingBuf<MapData>,
    /// Where long arguments and environments come from, before the records.
    pub(crate) bulk: RingBuf<MapData>,
    counters: Words,
    /// Where what processes do to others comes from.
    pub(crate) acts: RingBuf<MapData>,
    /// Whether the programs need not wake the reader.
    pub(crate) reader_awake: Words,
    /// Dropping these detaches the programs.
    pub(crate) links: Vec<RawLink>,
    pub(crate) calls: Option<WatchedCalls>,
    /// What writes down all processes.
    pub(crate) iterator: Option<TaskIterator>,
    pub(super) programs: Vec<(usize, ProgramFd)>,
    /// Spare programs of exec, fork and exit.
    pub(super) spare_programs: Vec<(usize, ProgramFd)>,
    /// By class, the runs that the first ones left to these.
    left: Words,
    /// Runs of the first ones that were skipped and these made up for.
    made_up: Words,
    /// Programs that are attached to no tracepoint: walks, and those of the iterator.
    others: Vec<ProgramFd>,
    /// The kernel empties such a map when nobody holds it.
    tails: Vec<ProgramArray<MapData>>,
    /// Per class, why it is not recorded.
    pub(crate) disabled: [Option<String>; CLASSES.len()],
    /// Why what ran before is not known.
    pub(crate) snapshot_error: Option<String>,
    /// Boot time from which on every event is seen: the last program was attached.
    pub(crate) since_ns: u64,
    /// Boot time from which on some were counted: the first program was not yet attached.
    pub(crate) counted_ns: u64,
}

impl Attached {
    /// Takes the maps; nothing is attached yet.
    fn new(
        ebpf: &mut Ebpf,
        disabled: [Option<String>; CLASSES.len()],
    ) -> Result<Self, AttachError> {
        let counted_ns = clock::boot_ns();
        Ok(Self {
            ring: take_map(ebpf, "RING")?,
            bulk: take_map(ebpf, "BULK")?,
            acts: take_map(ebpf, "ACTS")?,
            reader_awake: Words::take(ebpf, "READER_AWAKE", 1)?,
            counters: Words::take(ebpf, "COUNTERS", cpus()? * COUNTERS_PER_CPU * COUNTER_WORDS)?,
            links: Vec::new(),
            calls: None,
            iterator: None,
            programs: Vec::new(),
            spare_programs: Vec::new(),
            left: Words::take(ebpf, "LEFT", LIFE_CLASSES)?,
            made_up: Words::take(ebpf, "MADE_UP", LIFE_CLASSES)?,
            others: Vec::new(),
            tails: Vec::new(),
            disabled,
            snapshot_error: None,
            since_ns: counted_ns,
            counted_ns,
        })
    }

    fn disable(&mut self, class: &str, reason: String) {
        let named = CLASSES.iter().zip(&mut self.disabled).find(|(known, _)| **known == class);
        if let Some((_, entry)) = named {
            entry.get_or_insert(reason);
        }
    }

    /// What the kernel has counted so far, and of that what rules left out.
    pub(crate) fn counts(&self) -> (Counts, LeftOut) {
        let (mut counts, mut left_out) = (Counts::default(), LeftOut::default());
        let (counters, _) = self.counters.all().as_chunks::<COUNTER_WORDS>();
        for of_cpu in counters.chunks_exact(COUNTERS_PER_CPU) {
            let all = counts.iter_mut().flatten().zip(left_out.iter_mut().flatten());
            for ((total, left_out), counter) in all.zip(of_cpu) {
                let [seen, lost, filtered] =
                    counter.each_ref().map(|word| word.load(Ordering::Relaxed));
                total[0] += seen;
                total[1] += lost;
                *left_out += filtered;
            }
        }
        (counts, left_out)
    }

    /// Detaches the programs: nothing is added to the rings from then on.
    pub(crate) fn detach(&mut self) {
        // The spares first: without the first programs they would do the work.
        while self.links.pop().is_some() {}
        if let Some(calls) = &mut self.calls {
            calls.links.clear();
        }
    }

    /// Which routes of what is seen at system calls are not, in words.
    pub(crate) fn blind_calls(&self, class: &str) -> String {
        let missing = self.calls.as_ref().map(|calls| calls.missing.join(", "));
        let missing = missing
            .filter(|missing| !missing.is_empty())
            .map(|missing| format!("{missing}, which this kernel does not trace"));
        let of_class = match class {
            "ptrace" => Some("memory opened through io_uring; refused opening of it".to_owned()),
            "image" => Some(
                "the program and its loader, which exec maps; files mapped first and made executable \
                 later, which is memory_exec"
                    .to_owned(),
            ),
            _ => None,
        };
        let all = [Some(COMPATIBILITY.to_owned()), missing, of_class];
        all.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Per class, how often the kernel skipped one of its programs; `None` where it does not tell.
    pub(crate) fn skipped(&self) -> [Option<u64>; CLASSES.len()] {
        let skipped = |program: &ProgramFd| program_counts(program.as_fd())?.skipped;
        let of_calls = self
            .calls
            .as_ref()
            .and_then(|calls| calls.programs.iter().map(skipped).sum::<Option<u64>>());
        let mut sums = [None; CLASSES.len()];
        for ((index, class), sum) in CLASSES.iter().enumerate().zip(&mut sums) {
            let own = self.programs.iter().filter(|(of, _)| *of == index);
            *sum = match is_by_call(class) {
                true => of_calls,
                false => own.map(|(_, program)| skipped(program)).sum(),
            };
        }
        sums
    }

    /// How often a first program of exec, fork or exit was skipped, and how often a spare made up for it.
    pub(crate) fn skipped_lives(&self) -> (OfLives, [u64; LIFE_CLASSES]) {
        let (mut skipped, mut made_up) = ([None; LIFE_CLASSES], [0; LIFE_CLASSES]);
        let lives = skipped.iter_mut().zip(&mut made_up).enumerate();
        for (class, (skipped, made_up)) in lives {
            let mut programs = self.programs.iter().filter(|(of, _)| *of == class);
            let by_kernel = programs.find_map(|(_, fd)| program_counts(fd.as_fd())?.skipped);
            *skipped = by_kernel.map(|by_kernel| by_kernel + self.left.get(class));
            *made_up = self.made_up.get(class);
        }
        (skipped, made_up)
    }

    /// What the kernel knows of each program, those reached by tail calls last.
    #[cfg(test)]
    pub(crate) fn program_counts(&self) -> Vec<super::sys::ProgramCounts> {
        let attached = self.programs.iter().map(|(_, program)| program);
        let calls = self.calls.iter().flat_map(|calls| &calls.programs);
        let spares = self.spare_programs.iter().map(|(_, program)| program);
        let all = attached.chain(spares).chain(&self.others).chain(calls);
        all.filter_map(|program| program_counts(program.as_fd())).collect()
    }
}

/// Loads, attaches and proves the programs, then takes the snapshot.
pub(crate) fn attach(config: &ProcessEbpfConfig) -> Result<Attached, AttachError> {
    for bytes in [config.ring_bytes, config.bulk_bytes] {
        if !bytes.is_power_of_two() || bytes < 4096 {
            return Err(AttachError::RingSize { bytes });
        }
    }
    let resolved = {
        let btf = Btf::of_kernel().map_err(AttachError::Types)?;
        resolve(&btf)
    };
    if let [Some(reason), Some(_), Some(_), ..] = &resolved.disabled {
        return Err(AttachError::MissingMember { reason: reason.clone() });
    }
    raise_memory_limit();
    let fallback = config.force_exit_fallback || !resolved.exit_says_last;
    let mut filter = Filter::new(&config.selection.exclusions);
    if config.audit_interval.is_some() && audit::can_be_made() {
        filter = filter.without_own();
    }
    let has_spares = config.spare_programs.are_wanted();
    let mut ebpf = prepare(&resolved, config, &filter, fallback, has_spares)?;
    filter.fill(&mut ebpf)?;
    let types = aya::Btf::from_sys_fs().map_err(AttachError::Parse)?;
    let mut attached = Attached::new(&mut ebpf, resolved.disabled)?;
    if attached.disabled[0].is_none() {
        attach_walks(&mut ebpf, &types, &mut attached, filter.has_rules())?;
    }
    let exit = if fallback { EXIT_FALLBACK } else { EXIT };
    for (class, hook) in [EXEC, FORK, exit].into_iter().enumerate() {
        if attached.disabled.get(class).is_some_and(Option::is_none) {
            attach_life(&mut ebpf, &types, &mut attached, (class, hook), config.spare_programs)?;
        }
    }
    attach_acts(&mut ebpf, config, &mut attached);
    attached.since_ns = clock::boot_ns();
    prove(&attached)?;
    if attached.disabled[0].is_none() {
        let mut looked: Array<MapData, u32> = take_map(&mut ebpf, "LOOKED")?;
        match TaskIterator::load(ebpf, &types, filter.has_rules()) {
            Ok((mut iterator, programs)) => {
                attached.others.extend(programs);
                attached.snapshot_error = iterator.run().err();
                let set = looked.set(0, 1, 0);
                set.map_err(|source| AttachError::Map { name: "LOOKED", source })?;
                attached.iterator = Some(iterator);
            }
            Err(error) => attached.snapshot_error = Some(error),
        }
    }
    Ok(attached)
}

/// Below kernel 5.11 maps count against a limit on locked memory. Where it cannot be raised the
/// maps themselves will tell whether it was enough.
fn raise_memory_limit() {
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited) {
        tracing::debug!(%error, "the limit on locked memory stays as it is");
    }
}

/// One more than the highest number that a CPU can have: the programs count by these, which may have holes.
fn cpus() -> Result<usize, AttachError> {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible");
    let count = possible.and_then(|possible| {
        past_last(&possible).ok_or_else(|| io::Error::other(format!("not a list: {possible:?}")))
    });
    count.map_err(AttachError::Cpus)
}

/// One more than the last number of a list of the kernel's, as `0-3,8-11`.
fn past_last(list: &str) -> Option<usize> {
    let last = list.trim_end().rsplit([',', '-']).next()?;
    last.parse::<usize>().ok()?.checked_add(1)
}

fn prepare(
    resolved: &Resolved,
    config: &ProcessEbpfConfig,
    filter: &Filter,
    fallback: bool,
    has_spares: bool,
) -> Result<Ebpf, AttachError> {
    let cpus = u32::try_from(cpus()?).unwrap_or(u32::MAX);
    let ended = if fallback { ENDED_MAX } else { ENDED_UNUSED };
    let spares = u32::from(has_spares);
    let mut loader = EbpfLoader::new();
    for (name, value) in &resolved.globals {
        loader.override_global(name, value, true);
    }
    let environment = u32::from(config.environment.is_read());
    loader.override_global("ENVIRONMENT", &environment, true);
    let signals = match config.signals {
        SignalChoice::None => SIGNALS_NONE,
        SignalChoice::Fatal => SIGNALS_FATAL,
        SignalChoice::All => SIGNALS_ALL,
    };
    loader.override_global("SIGNALS", &signals, true);
    let mut disabled = CLASSES.iter().zip(&resolved.disabled);
    let has_files = disabled.all(|(class, why)| *class != "image" || why.is_none());
    let images = match config.images {
        ImageChoice::First if has_files => IMAGES_FIRST,
        ImageChoice::All if has_files => IMAGES_ALL,
        ImageChoice::None | ImageChoice::First | ImageChoice::All => IMAGES_NONE,
    };
    loader.override_global("IMAGES", &images, true);
    filter.prepare(&mut loader);
    loader.map_max_entries("RING", config.ring_bytes);
    loader.map_max_entries("BULK", config.bulk_bytes);
    loader.map_max_entries("SLOTS", cpus.saturating_mul(SLOTS_PER_CPU));
    loader.map_max_entries("COUNTERS", cpus.saturating_mul(COUNTERS_MAX));
    loader.map_max_entries("ENDED", ended);
    loader.override_global("SPARES", &spares, true);
    loader.map_max_entries("TAKEN", if has_spares { TAKEN_MAX } else { 1 });
    loader.load(OBJECT).map_err(|error| match forbidden(&error) {
        true => refused(),
        false => AttachError::Prepare(Box::new(error)),
    })
}

/// Loads the programs that finish the records of execs.
fn attach_walks(
    ebpf: &mut Ebpf,
    types: &aya::Btf,
    attached: &mut Attached,
    has_rules: bool,
) -> Result<(), AttachError> {
    let mut walks: ProgramArray<MapData> = take_map(ebpf, "WALK")?;
    let tails = [(TAIL_WALK, "walk"), (TAIL_PARTS, "parts"), (TAIL_FILTER, "filter")];
    let needed = if has_rules { tails.len() } else { tails.len() - 1 };
    for (entry, name) in tails.into_iter().take(needed) {
        let program = load_typed(ebpf, types, name, EXEC.1)?;
        set_tail(&mut walks, entry, &program, "WALK")?;
        attached.others.push(program);
    }
    attached.tails.push(walks);
    Ok(())
}

/// Attaches what tells of a class of processes' lives. The kernel runs programs of one tracepoint in the
/// order in which they were attached.
fn attach_life(
    ebpf: &mut Ebpf,
    types: &aya::Btf,
    attached: &mut Attached,
    (class, ([first, spares @ ..], hook)): (usize, Hook),
    spare_programs: SparePrograms,
) -> Result<(), AttachError> {
    let program = load_typed(ebpf, types, first, hook)?;
    if spare_programs != SparePrograms::Alone {
        attached.links.push(RawLink::attach(class, (first, hook), None, &program)?);
    }
    attached.programs.push((class, program));
    for spare in spares.into_iter().filter(|_| spare_programs.are_wanted()) {
        let program = load_typed(ebpf, types, spare, hook)?;
        attached.links.push(RawLink::attach(class, (spare, hook), None, &program)?);
        attached.spare_programs.push((class, program));
    }
    Ok(())
}

/// Attaches what tells of acts. What cannot be is not recorded, for the reason that is noted; the life
/// of processes is recorded all the same.
fn attach_acts(ebpf: &mut Ebpf, config: &ProcessEbpfConfig, attached: &mut Attached) {
    let words = |error: AttachError| format!("{:#}", anyhow::Error::from(error));
    let off = |setting: &str| format!("switched off by the configuration: [process] {setting}");
    if config.signals == SignalChoice::None {
        attached.disable("signal", off("signals = \"none\""));
    }
    if config.images == ImageChoice::None {
        attached.disable("image", off("images = \"none\""));
    }
    for (class, program, hook) in ACTS {
        let index = CLASSES.iter().position(|known| *known == class).unwrap_or(usize::MAX);
        if attached.disabled.get(index).is_none_or(Option::is_some) {
            continue;
        }
        let loaded = load_tracepoint(ebpf, program, hook)
            .and_then(|fd| Ok((RawLink::attach(index, (program, hook), Some(hook), &fd)?, fd)));
        match loaded {
            Ok((link, fd)) => {
                attached.programs.push((index, fd));
                attached.links.push(link);
            }
            // Without it the kernel is built to load none.
            Err(_) if class == "module" && !std::fs::exists("/proc/modules").unwrap_or(true) => {
                attached.disable(class, "this kernel loads no modules".to_owned());
            }
            Err(error) => attached.disable(class, words(error)),
        }
    }
    let calls = match config.calls {
        true => calls::attach(ebpf).map_err(words),
        false => Err(off("syscalls = false")),
    };
    match calls {
        Ok(calls) => attached.calls = Some(calls),
        Err(reason) => {
            let classes = CLASSES.iter().filter(|class| is_by_call(class));
            classes.for_each(|class| attached.disable(class, reason.clone()));
        }
    }
}

pub(super) fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, AttachError>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(AttachError::Part { name })?;
    T::try_from(map).map_err(|source| AttachError::Map { name, source })
}

pub(super) fn set_tail(
    programs: &mut ProgramArray<MapData>,
    entry: u32,
    program: &ProgramFd,
    name: &'static str,
) -> Result<(), AttachError> {
    programs.set(entry, program, 0).map_err(|source| AttachError::Map { name, source })
}

fn tracepoint<'a, P>(
    ebpf: &'a mut Ebpf,
    program: &'static str,
    hook: &'static str,
) -> Result<P, AttachError>
where
    P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let found = ebpf.program_mut(program).ok_or(AttachError::Part { name: program })?;
    P::try_from(found).map_err(|source| AttachError::Attach { program, hook, source })
}

fn load_tracepoint(
    ebpf: &mut Ebpf,
    program: &'static str,
    hook: &'static str,
) -> Result<ProgramFd, AttachError> {
    let loaded: &mut RawTracePoint = tracepoint(ebpf, program, hook)?;
    patiently(|| loaded.load()).map_err(|error| explain(program, hook, error))?;
    clone_fd(loaded.fd(), program, hook)
}

/// Loads a program to which the kernel tells the types of the tracepoint's arguments.
fn load_typed(
    ebpf: &mut Ebpf,
    types: &aya::Btf,
    program: &'static str,
    hook: &'static str,
) -> Result<ProgramFd, AttachError> {
    let loaded: &mut BtfTracePoint = tracepoint(ebpf, program, hook)?;
    patiently(|| loaded.load(hook, types)).map_err(|error| explain(program, hook, error))?;
    clone_fd(loaded.fd(), program, hook)
}

pub(super) fn clone_fd(
    fd: Result<&ProgramFd, ProgramError>,
    program: &'static str,
    hook: &'static str,
) -> Result<ProgramFd, AttachError> {
    let clone = fd.and_then(|fd| fd.try_clone().map_err(ProgramError::IOError));
    clone.map_err(|source| AttachError::Attach { program, hook, source })
}

/// Starts a program of no consequence and sees that every probe ran: that a program could be
/// attached proves nothing.
fn prove(attached: &Attached) -> Result<(), AttachError> {
    let started = ["/bin/true", "/usr/bin/true", "/bin/sh"].iter().any(|program| {
        let mut command = Command::new(program);
        command.args(["-c", ":"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    });
    let (counts, _) = attached.counts();
    let life = CLASSES.iter().take(LIFE_CLASSES);
    for ((class, of_class), disabled) in life.zip(&counts).zip(&attached.disabled) {
        let seen: u64 = of_class.iter().map(|[seen, _]| seen).sum();
        if seen > 0 || disabled.is_some() {
            continue;
        }
        if *class == "exec" && !started {
            tracing::warn!("the exec probe is not proven to fire: no program to start was found");
            continue;
        }
        return Err(AttachError::Silent { class });
    }
    Ok(())
}

/// Loads again while the kernel says EAGAIN: its verifier gives up when a signal is pending.
pub(super) fn patiently(
    mut load: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    for _ in 1..LOAD_TRIES {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            done => return done,
        }
    }
    load()
}

#[cfg(test)]
mod tests {
    use super::past_last;

    #[test]
    fn processors_are_counted_to_the_last() {
        for (list, count) in [("0\n", 1), ("0-1\n", 2), ("0-3,8-11\n", 12), ("0,2\n", 3)] {
            assert_eq!(past_last(list), Some(count), "{list:?}");
        }
        for list in ["", "\n", "0-\n", "0-18446744073709551615\n"] {
            assert_eq!(past_last(list), None, "{list:?}");
        }
    }
}
