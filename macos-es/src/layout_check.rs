//! Proof, at compile time on macOS, that the mirror is the binding's layout.

use std::mem::offset_of;

use endpoint_sec::sys;

use crate::layout::{
    EVENT_TYPE_NOTIFY_EXEC, EVENT_TYPE_NOTIFY_EXIT, EVENT_TYPE_NOTIFY_FORK, RawAuditToken,
    RawEvents, RawExec, RawExit, RawFile, RawFork, RawMessage, RawProcess, RawStat, RawString,
    RawThread, RawTimespec, RawTimeval,
};

/// Asserts that two structures have the same size and alignment, and fields the same offsets and
/// sizes.
macro_rules! same {
    ($ours:ty, $theirs:ty; $($our:ident = $their:ident),* $(,)?) => {
        const _: () = {
            assert!(size_of::<$ours>() == size_of::<$theirs>());
            assert!(align_of::<$ours>() == align_of::<$theirs>());
            $(
                assert!(offset_of!($ours, $our) == offset_of!($theirs, $their));
                assert!(
                    size_of_field(|raw: &$ours| &raw const raw.$our)
                        == size_of_field(|raw: &$theirs| &raw const raw.$their)
                );
            )*
        };
    };
}

/// Size of what a projection leads to.
const fn size_of_field<S, F, P: Fn(&S) -> *const F + Copy>(_: P) -> usize {
    size_of::<F>()
}

same!(RawAuditToken, sys::audit_token_t; val = val);
same!(RawString, sys::es_string_token_t; length = length, data = data);
same!(RawTimespec, sys::timespec; sec = tv_sec, nsec = tv_nsec);
same!(RawTimeval, sys::timeval; sec = tv_sec, usec = tv_usec);
same!(RawStat, sys::stat;
    dev = st_dev, mode = st_mode, nlink = st_nlink, ino = st_ino, uid = st_uid, gid = st_gid,
    rdev = st_rdev, size = st_size, blocks = st_blocks, blksize = st_blksize, flags = st_flags,
    generation = st_gen,
);
// libc spreads each timespec over two fields, of which the first is the seconds.
const _: () = {
    assert!(offset_of!(RawStat, atime) == offset_of!(sys::stat, st_atime));
    assert!(offset_of!(RawStat, mtime) == offset_of!(sys::stat, st_mtime));
    assert!(offset_of!(RawStat, ctime) == offset_of!(sys::stat, st_ctime));
    assert!(offset_of!(RawStat, birthtime) == offset_of!(sys::stat, st_birthtime));
};
same!(RawFile, sys::es_file_t;
    path = path, path_truncated = path_truncated, stat = stat,
);
same!(RawProcess, sys::es_process_t;
    audit_token = audit_token, ppid = ppid, original_ppid = original_ppid, group_id = group_id,
    session_id = session_id, codesigning_flags = codesigning_flags,
    is_platform_binary = is_platform_binary, is_es_client = is_es_client, cdhash = cdhash,
    signing_id = signing_id, team_id = team_id, executable = executable, tty = tty,
    start_time = start_time, responsible_audit_token = responsible_audit_token,
    parent_audit_token = parent_audit_token,
);
same!(RawExec, sys::es_event_exec_t; target = target, dyld_exec_path = dyld_exec_path);
same!(RawFork, sys::es_event_fork_t; child = child);
same!(RawExit, sys::es_event_exit_t; stat = stat);
same!(RawThread, sys::es_thread_t; thread_id = thread_id);
same!(RawEvents, sys::es_events_t;);
same!(RawMessage, sys::es_message_t;
    version = version, time = time, mach_time = mach_time, deadline = deadline, process = process,
    seq_num = seq_num, action_type = action_type, action = action, event_type = event_type,
    event = event, thread = thread, global_seq_num = global_seq_num,
);

// The fields of an exec that the binding keeps in a union.
const _: () = {
    type Versioned = sys::es_event_exec_t_anon_0_anon_0;
    let start = offset_of!(sys::es_event_exec_t, anon_0);
    assert!(offset_of!(RawExec, script) == start + offset_of!(Versioned, script));
    assert!(offset_of!(RawExec, cwd) == start + offset_of!(Versioned, cwd));
    assert!(offset_of!(RawExec, last_fd) == start + offset_of!(Versioned, last_fd));
    assert!(offset_of!(RawExec, image_cputype) == start + offset_of!(Versioned, image_cputype));
    assert!(
        offset_of!(RawExec, image_cpusubtype) == start + offset_of!(Versioned, image_cpusubtype)
    );
};

const _: () = {
    assert!(EVENT_TYPE_NOTIFY_EXEC == sys::es_event_type_t::ES_EVENT_TYPE_NOTIFY_EXEC.0);
    assert!(EVENT_TYPE_NOTIFY_FORK == sys::es_event_type_t::ES_EVENT_TYPE_NOTIFY_FORK.0);
    assert!(EVENT_TYPE_NOTIFY_EXIT == sys::es_event_type_t::ES_EVENT_TYPE_NOTIFY_EXIT.0);
};
