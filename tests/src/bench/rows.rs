//! Lifelike process events: a few hundred programs, arguments that share words, rising pids.

use bygone::events::{
    CapabilitySets, Credentials, ExecEvent, Namespaces, ProcessEvent, ProcessKey, ProgramFile,
};

const PROGRAMS: u64 = 300;
const SECOND_NS: u64 = 1_000_000_000;

/// A sequence without state of its own: the same index always gives the same number
/// (SplitMix64, Steele et al. 2014).
pub(super) const fn scatter(index: u64) -> u64 {
    let mut value = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The event of this number: about 300 per second from a fixed instant on.
pub(super) fn exec(index: u64) -> ProcessEvent {
    let draw = scatter(index);
    // Squared, so that few programs make up most of the events.
    let program = (draw % PROGRAMS) * ((draw >> 20) % PROGRAMS) / PROGRAMS;
    let path = format!("/usr/bin/program-{program}");
    let start_ns = 3_600 * SECOND_NS + index * (SECOND_NS / 300);
    let pid = 1_000 + u32::try_from(index % 4_000_000).unwrap_or(0);
    let parent_path = format!("/usr/sbin/parent-{}", program % 12);
    let job = draw % 10_000;
    let arguments =
        format!("{path}\0--config\0/etc/program-{program}/main.conf\0--job={job}\0").into_bytes();
    let arguments_bytes = arguments.len() as u64;
    let uid = u32::try_from(program % 5).unwrap_or(0) * 1_000;
    ProcessEvent::Exec(Box::new(ExecEvent {
        time_ns: 1_764_000_000_000_000_000 + i64::try_from(start_ns).unwrap_or(0),
        process: ProcessKey { pid, start_ns },
        tid: pid,
        parent: Some(ProcessKey { pid: 1 + pid / 10, start_ns: start_ns / 2 }),
        parent_path: Some(parent_path.as_str().into()),
        parent_cmdline: Some(format!("{parent_path} --serve --jobs=8").into()),
        start_exact: true,
        credentials: Credentials {
            uid,
            euid: uid,
            suid: uid,
            fsuid: Some(uid),
            gid: uid,
            egid: uid,
            sgid: uid,
            fsgid: Some(uid),
            auid: Some(uid),
            audit_session_id: Some(3),
        },
        session_id: Some(1 + pid / 100),
        capabilities: Some(CapabilitySets::default()),
        cgroup_id: Some(program % 40),
        cgroup_path: Some(format!("/system.slice/unit-{}.service", program % 40)),
        namespaces: Some(Namespaces {
            pid: 4_026_531_836,
            mount: 4_026_531_841,
            network: 4_026_531_840,
            user: 4_026_531_837,
        }),
        path: Some(path),
        file: Some(ProgramFile {
            device: 65_024,
            inode: 100_000 + program,
            mode: 0o100_755,
            owner_uid: 0,
            owner_gid: 0,
            atime: Some(1_764_000_000),
            mtime: Some(1_700_000_000),
            ctime: Some(1_700_000_000),
            ctime_ns: Some(1_700_000_000_123_456_789),
            size: Some(40_000 + 4 * program),
            links: Some(1),
            ..ProgramFile::default()
        }),
        cwd: Some(format!("/srv/job-{}", program % 20)),
        arguments: Some(arguments),
        arguments_bytes,
        environment_bytes: Some(1_200 + program),
        environment_count: Some(24),
        ..ExecEvent::default()
    }))
}
