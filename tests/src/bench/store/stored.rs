//! The tables of the benchmark, and the way of their rows into SQLite.

use bygone::tables::events::file_events::FileEvents;
use bygone::tables::events::process_events::ProcessEvents;
use bygone::tables::events::process_exit_events::ProcessExitEvents;
use bygone::tables::events::process_fork_events::ProcessForkEvents;
use bygone_store::row::Field;
use bygone_store::{EventTable, TableSchema, ValueRef};
use rusqlite::Statement;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef as SqlValueRef};

use crate::bench::generator::SocketEvents;

/// The tables, as the writer and the readers of the benchmark know them.
pub(super) static TABLES: &[&TableSchema] = &[
    ProcessEvents::SCHEMA,
    ProcessForkEvents::SCHEMA,
    ProcessExitEvents::SCHEMA,
    FileEvents::SCHEMA,
    SocketEvents::SCHEMA,
];

/// A row whose stored fields can be bound to the parameters of a statement.
pub(super) trait Stored: EventTable {
    /// The fields' names, in order.
    const NAMES: &'static [&'static str];

    /// Binds the stored fields in order, from parameter 1 on.
    fn bind(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()>;
}

macro_rules! stored {
    ($($row:ty { $($field:ident)* })*) => { $(
        impl Stored for $row {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            fn bind(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
                let mut parameter = 0;
                $(
                    parameter += 1;
                    statement.raw_bind_parameter(parameter, Bound(self.$field.value()))?;
                )*
                debug_assert_eq!(parameter, Self::NAMES.len(), "each field once");
                Ok(())
            }
        }
    )* };
}

stored! {
    ProcessEvents {
        pid path mode cmdline cmdline_size env env_count env_size cwd auid uid euid gid egid
        owner_uid owner_gid atime mtime ctime btime overflows parent status fsuid suid fsgid sgid
        syscall time_ns tid start_ns parent_start_ns argv argv_bytes argv_truncated argv_loss masked
        parent_path parent_cmdline container_path container_id container_runtime cgroup_path tty
        cap_permitted cap_effective setuid setgid fileless script_path session_id audit_session_id
        cgroup_id pid_namespace mnt_namespace net_namespace user_namespace exe_dev exe_inode exe_size
        exe_ctime start_exact kernel_thread interpreter
    }
    ProcessForkEvents {
        pid path uid gid parent time_ns start_ns parent_start_ns caller caller_start_ns clone_flags
        pid_namespace mnt_namespace net_namespace user_namespace new_namespaces
    }
    ProcessExitEvents {
        pid path uid gid parent exit_code signal core_dumped time_ns start_ns parent_start_ns cpu_ns
        source alive_ns
        lifetime_ns user_ns system_ns max_rss_bytes disk_bytes_read disk_bytes_written
    }
    FileEvents {
        target_path category action transaction_id inode uid gid mode size atime mtime ctime md5
        sha1 sha256 hashed time_ns found_by_scan
    }
    SocketEvents {
        action pid path fd auid status family protocol local_address remote_address local_port
        remote_port time_ns start_ns
    }
}

/// A value as a parameter of a statement.
struct Bound<'a>(ValueRef<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self.0 {
            ValueRef::Null => SqlValueRef::Null,
            ValueRef::Bool(value) => SqlValueRef::Integer(value.into()),
            ValueRef::I32(value) => SqlValueRef::Integer(value.into()),
            ValueRef::I64(value) => SqlValueRef::Integer(value),
            ValueRef::U32(value) => SqlValueRef::Integer(value.into()),
            ValueRef::U64(value) => SqlValueRef::Integer(value.cast_signed()),
            ValueRef::F64(value) => SqlValueRef::Real(value),
            ValueRef::Text(value) => SqlValueRef::Text(value.as_bytes()),
            ValueRef::Blob(value) => SqlValueRef::Blob(value),
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Stored>() {
        let stored: Vec<&str> = T::SCHEMA.stored().map(|(_, column, _)| column.name).collect();
        assert_eq!(stored, T::NAMES, "{}", T::SCHEMA.name);
    }

    #[test]
    fn every_stored_field_is_bound_in_its_place() {
        check::<ProcessEvents>();
        check::<ProcessForkEvents>();
        check::<ProcessExitEvents>();
        check::<FileEvents>();
        check::<SocketEvents>();
    }
}
