//! One process from its fork to its exit.

use bygone::tables::events::process_events::ProcessEvents;
use bygone::tables::events::process_exit_events::ProcessExitEvents;
use bygone::tables::events::process_fork_events::ProcessForkEvents;
use bygone_store::Computed;

use super::draw::Draw;
use super::programs::Programs;
use super::start_ns;

/// Processes that a parent is picked from.
const RECENT: usize = 256;

/// Identity of a process that forks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parent {
    pub(super) pid: u32,
    pub(super) start_ns: u64,
}

impl Parent {
    /// One of those that live all the time: init, cron, a container runtime, …
    pub(super) fn daemon(draw: &mut Draw) -> Self {
        let number = draw.squared(40);
        Self { pid: 1 + number as u32 * 7, start_ns: 1_000_000_000 + number * 137_000_000 }
    }
}

/// A process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) pid: u32,
    pub(super) start_ns: u64,
    pub(super) parent: Parent,
    pub(super) program: usize,
    pub(super) needle: Option<&'static str>,
    pub(super) uid: u32,
    /// From 0 to 999; says how it ends.
    pub(super) ending: u32,
    /// Rows that are still to come.
    pub(super) pending: u32,
}

/// The processes with rows to come.
#[derive(Debug, Default)]
pub(super) struct Lives {
    lives: Vec<Life>,
    free: Vec<u32>,
    /// The last that were born, in a ring.
    recent: Vec<u32>,
    born: usize,
}

impl Lives {
    pub(super) fn begin(&mut self, life: Life) -> u32 {
        let index = match self.free.pop() {
            Some(index) => {
                self.lives[index as usize] = life;
                index
            }
            None => {
                self.lives.push(life);
                self.lives.len() as u32 - 1
            }
        };
        if self.recent.len() < RECENT {
            self.recent.push(index);
        } else {
            self.recent[self.born % RECENT] = index;
        }
        self.born += 1;
        index
    }

    pub(super) fn of(&self, index: u32) -> &Life {
        &self.lives[index as usize]
    }

    /// Takes a row off a process; the last one frees its place.
    pub(super) fn step_done(&mut self, index: u32) {
        let life = &mut self.lives[index as usize];
        life.pending -= 1;
        if life.pending == 0 {
            self.free.push(index);
        }
    }

    /// A process that was born lately and lives; `None` when the one drawn does not.
    pub(super) fn recent(&self, draw: &mut Draw) -> Option<&Life> {
        if self.recent.is_empty() {
            return None;
        }
        let index = self.recent[draw.below(self.recent.len() as u64) as usize];
        Some(self.of(index)).filter(|life| life.pending > 0)
    }
}

impl Life {
    pub(super) fn fork(&self, time_ns: i64, programs: &Programs) -> ProcessForkEvents {
        ProcessForkEvents {
            pid: self.pid,
            path: Some(programs.parent_path(self.program).to_owned()),
            uid: self.uid,
            gid: self.uid,
            parent: Some(self.parent.pid),
            uptime: Computed,
            time_ns,
            start_ns: self.start_ns,
            guid: Computed,
            parent_start_ns: Some(self.parent.start_ns),
            parent_guid: Computed,
            caller: self.parent.pid,
            caller_start_ns: self.parent.start_ns,
            caller_guid: Computed,
            clone_flags: Some(if self.ending.is_multiple_of(4) { 0x4100 } else { 0x0120_0000 }),
            pid_namespace: Some(4_026_531_836),
            mnt_namespace: Some(4_026_531_841),
            net_namespace: Some(4_026_531_840),
            user_namespace: Some(4_026_531_837),
            new_namespaces: None,
        }
    }

    pub(super) fn exec(&self, time_ns: i64, programs: &Programs, draw: &mut Draw) -> ProcessEvents {
        let (cmdline, argv) = programs.arguments(self.program, self.needle, draw);
        let program = programs.of(self.program);
        let path = self.needle.unwrap_or(&program.path);
        let size = cmdline.len() as u64 + 1;
        let row = ProcessEvents {
            pid: self.pid,
            path: Some(path.to_owned()),
            mode: Some("0100755".to_owned()),
            cmdline: Some(cmdline),
            cmdline_size: size,
            env_count: Some(20 + u64::from(self.uid) % 9),
            env_size: Some(1_200 + draw.below(400)),
            cwd: Some(programs.folder(self.program, draw).to_owned()),
            auid: if self.uid < 1_000 { u32::MAX } else { self.uid },
            uid: self.uid,
            euid: self.uid,
            gid: self.uid,
            egid: self.uid,
            owner_uid: Some(0),
            owner_gid: Some(0),
            atime: Some(time_ns / 86_400_000_000_000 * 86_400),
            mtime: Some(program.changed),
            ctime: Some(program.changed + 40),
            parent: Some(self.parent.pid),
            uptime: Computed,
            status: 0,
            fsuid: Some(self.uid),
            suid: self.uid,
            fsgid: Some(self.uid),
            sgid: self.uid,
            syscall: "execve".to_owned(),
            time_ns,
            tid: self.pid,
            start_ns: self.start_ns,
            guid: Computed,
            parent_start_ns: Some(self.parent.start_ns),
            parent_guid: Computed,
            argv: Some(argv),
            argv_bytes: size,
            script_path: program.script.clone(),
            session_id: Some(1 + self.parent.pid / 16 * 16),
            audit_session_id: if self.uid < 1_000 { u32::MAX } else { self.uid % 7 + 1 },
            start_exact: true,
            ..ProcessEvents::default()
        };
        self.surroundings(row, programs)
    }

    /// Adds what tells where a program ran.
    fn surroundings(&self, row: ProcessEvents, programs: &Programs) -> ProcessEvents {
        let program = programs.of(self.program);
        let container = (program.container > 0).then(|| format!("{:064x}", program.container));
        let cgroup = match &container {
            Some(id) => format!("/system.slice/docker-{id}.scope"),
            None => format!("/system.slice/unit-{}.service", program.group),
        };
        let parent = programs.parent_path(self.program);
        ProcessEvents {
            parent_path: Some(parent.to_owned()),
            // As many different ones as there are parents.
            parent_cmdline: Some(format!("{parent} --jobserver={}", self.parent.pid)),
            container_runtime: container.is_some().then(|| "docker".to_owned()),
            container_id: container,
            cgroup_id: Some(4_000 + program.group),
            cgroup_path: Some(cgroup),
            tty: (self.uid >= 1_000).then(|| format!("pts/{}", self.uid % 7)),
            cap_permitted: Some(if self.uid == 0 { 0x1ff_ffff_ffff } else { 0 }),
            cap_effective: Some(if self.uid == 0 { 0x1ff_ffff_ffff } else { 0 }),
            fileless: Some(false),
            pid_namespace: Some(4_026_531_836 + program.container),
            mnt_namespace: Some(4_026_531_841 + program.container),
            net_namespace: Some(4_026_531_840 + program.container),
            user_namespace: Some(4_026_531_837),
            exe_dev: Some(65_024),
            exe_inode: Some(program.inode),
            exe_size: Some(20_000 + program.inode * 37),
            exe_ctime: Some((program.changed + 40) * 1_000_000_000 + 123_456_789),
            ..row
        }
    }

    pub(super) fn exit(
        &self,
        time_ns: i64,
        programs: &Programs,
        draw: &mut Draw,
    ) -> ProcessExitEvents {
        let (exit_code, signal) = match self.ending {
            0..=4 => (None, Some(9)),
            5..=9 => (None, Some(15)),
            10..=27 => (Some(1), None),
            28 => (Some(127), None),
            29 => (Some(2), None),
            _ => (Some(0), None),
        };
        let lasted_ns = start_ns(time_ns).saturating_sub(self.start_ns);
        // At most 50 ms of what it lasted, in steps of a microsecond as the kernel has them.
        let cpu_ns = draw.below(lasted_ns.clamp(1_000, 50_000_000)) / 1_000 * 1_000;
        ProcessExitEvents {
            pid: self.pid,
            path: Some(self.needle.unwrap_or(programs.path(self.program)).to_owned()),
            uid: self.uid,
            gid: self.uid,
            parent: Some(self.parent.pid),
            uptime: Computed,
            exit_code,
            signal,
            core_dumped: Some(false),
            source: "event".to_owned(),
            alive_ns: None,
            time_ns,
            start_ns: self.start_ns,
            guid: Computed,
            parent_start_ns: Some(self.parent.start_ns),
            parent_guid: Computed,
            cpu_ns: Some(cpu_ns),
            lifetime_ns: Some(lasted_ns),
            // At ticks of 4 ms.
            user_ns: Some(cpu_ns / 4_000_000 * 4_000_000),
            system_ns: Some(cpu_ns / 8_000_000 * 4_000_000),
            max_rss_bytes: Some(4096 * (500 + draw.below(3_000))),
            disk_bytes_read: Some(0),
            disk_bytes_written: Some(0),
        }
    }
}
