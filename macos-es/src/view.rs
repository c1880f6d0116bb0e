//! Following the pointers of a message: the one place where that is done.
//!
//! How it is made safe. [`MessageView::new`] is the only way in and states the contract: the
//! pointer leads to a message as EndpointSecurity makes them, everything that the message's
//! version says exists is there and initialised, and all of it outlives `'a`. Every view below is
//! made only from a pointer found in such a message, and so inherits the contract. Fields are
//! read one by one through raw pointers, never through a reference to a whole structure: in an
//! older message the later fields may lie outside the system's memory. Which fields exist in
//! which version is decided here, once, and shows as `Option`.
//!
//! What is checked in spite of the contract, because it costs nothing: null, alignment and the
//! lengths of strings.

#![expect(unsafe_code, reason = "the system hands events over as structures of pointers")]

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::decode::DecodeError;
use crate::layout::{
    self, RawAuditToken, RawExec, RawExit, RawFile, RawFork, RawMessage, RawProcess, RawStat,
    RawString, RawThread, RawTimespec, RawTimeval,
};

/// Longest path in bytes. The system cuts at 16 KiB now, and says that this may change.
pub const PATH_BYTES_MAX: usize = 64 * 1024;

/// Longest identifier of a code signature in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 64 * 1024;

/// The system's limit for arguments and environment of one exec together, in bytes (`ARG_MAX`).
/// As each argument ends with a NUL, also the limit of their number.
pub const ARGUMENTS_BYTES_MAX: usize = 1024 * 1024;

/// Reads one field of the structure that a view points to.
macro_rules! field {
    ($raw:expr, $($name:ident).+) => {{
        // SAFETY: by the contract of `MessageView::new` the structure starts at this address; the
        // field's place is computed and not read, and lies in the address space in any version.
        let place = unsafe { &raw const (*$raw.as_ptr()).$($name).+ };
        // SAFETY: the caller reads only fields that the message's version has; they are
        // initialised, and aligned because the structure is.
        unsafe { place.read() }
    }};
}

/// The library's functions for the arguments of an exec, which are not in the structure.
///
/// # Safety
/// What `argument` returns must be null, or lead to memory that lives as long as the message.
pub unsafe trait ExecArguments {
    /// How many there are.
    ///
    /// # Safety
    /// `exec` must come from an [`ExecView`].
    unsafe fn count(&self, exec: NonNull<RawExec>) -> u32;

    /// One of them.
    ///
    /// # Safety
    /// `exec` must come from an [`ExecView`], and `index` be less than `count`.
    unsafe fn argument(&self, exec: NonNull<RawExec>, index: u32) -> RawString;
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    raw: NonNull<RawMessage>,
    version: u32,
    memory: PhantomData<&'a RawMessage>,
}

impl MessageView<'_> {
    /// Looks at a message.
    ///
    /// # Safety
    /// `raw` must be aligned and lead to an `es_message_t` of the version that it states, as
    /// EndpointSecurity makes them: all fields of that version are initialised, and every pointer
    /// among them is null or leads to such a structure, or to as many bytes as the length beside
    /// it says. None of that memory may be changed or freed during `'a`.
    #[must_use]
    pub const unsafe fn new(raw: NonNull<RawMessage>) -> Self {
        let version = field!(raw, version);
        Self { raw, version, memory: PhantomData }
    }

    /// Version of the message.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// When it happened.
    #[must_use]
    pub const fn time(&self) -> RawTimespec {
        field!(self.raw, time)
    }

    /// When it happened, in Mach absolute time.
    #[must_use]
    pub const fn mach_time(&self) -> u64 {
        field!(self.raw, mach_time)
    }

    /// Which event it is.
    #[must_use]
    pub const fn event_type(&self) -> u32 {
        field!(self.raw, event_type)
    }

    /// Number among the client's messages of this type.
    #[must_use]
    pub fn seq_num(&self) -> Option<u64> {
        (self.version >= layout::VERSION_SEQUENCE).then(|| field!(self.raw, seq_num))
    }

    /// Number among all messages of the client.
    #[must_use]
    pub fn global_seq_num(&self) -> Option<u64> {
        (self.version >= layout::VERSION_PARENT_TOKEN).then(|| field!(self.raw, global_seq_num))
    }
}

impl<'a> MessageView<'a> {
    /// The process that acted.
    ///
    /// # Errors
    /// When the pointer is null or not aligned.
    pub fn process(&self) -> Result<ProcessView<'a>, DecodeError> {
        self.process_at(field!(self.raw, process), "process")
    }

    /// Id of the thread that acted, where the system names one.
    ///
    /// # Errors
    /// When the pointer is not aligned.
    pub fn thread_id(&self) -> Result<Option<u64>, DecodeError> {
        if self.version < layout::VERSION_PARENT_TOKEN {
            return Ok(None);
        }
        let thread: *const RawThread = field!(self.raw, thread);
        if thread.is_null() {
            return Ok(None);
        }
        let thread = follow(thread, "thread")?;
        Ok(Some(field!(thread, thread_id)))
    }

    /// The event of a message that is an exec.
    ///
    /// # Safety
    /// [`Self::event_type`] must be the one of exec.
    #[must_use]
    pub const unsafe fn exec(&self) -> ExecView<'a> {
        ExecView { raw: self.event_place().cast(), message: *self }
    }

    /// The new process of a message that is a fork.
    ///
    /// # Errors
    /// When the pointer is null or not aligned.
    ///
    /// # Safety
    /// [`Self::event_type`] must be the one of fork.
    pub unsafe fn fork_child(&self) -> Result<ProcessView<'a>, DecodeError> {
        let raw: NonNull<RawFork> = self.event_place().cast();
        self.process_at(field!(raw, child), "fork.child")
    }

    /// The status of a message that is an exit.
    ///
    /// # Safety
    /// [`Self::event_type`] must be the one of exit.
    #[must_use]
    pub const unsafe fn exit_status(&self) -> i32 {
        let raw: NonNull<RawExit> = self.event_place().cast();
        field!(raw, stat)
    }

    /// Where the union of events lies.
    const fn event_place(&self) -> NonNull<u8> {
        // SAFETY: the union is a part of the message in every version.
        unsafe { self.raw.cast::<u8>().add(std::mem::offset_of!(RawMessage, event)) }
    }

    fn process_at(
        &self,
        raw: *const RawProcess,
        name: &'static str,
    ) -> Result<ProcessView<'a>, DecodeError> {
        Ok(ProcessView { raw: follow(raw, name)?, message: *self })
    }
}

/// An exec.
#[derive(Clone, Copy, Debug)]
pub struct ExecView<'a> {
    raw: NonNull<RawExec>,
    message: MessageView<'a>,
}

impl<'a> ExecView<'a> {
    /// The process with its new program.
    ///
    /// # Errors
    /// When the pointer is null or not aligned.
    pub fn target(&self) -> Result<ProcessView<'a>, DecodeError> {
        self.message.process_at(field!(self.raw, target), "exec.target")
    }

    /// The path that exec was given.
    ///
    /// # Errors
    /// When its length or address cannot be right.
    pub fn exec_path(&self) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.message.version < layout::VERSION_EXEC_PATH {
            return Ok(None);
        }
        bytes(field!(self.raw, dyld_exec_path), PATH_BYTES_MAX, "exec.dyld_exec_path").map(Some)
    }

    /// The script, when exec was given one.
    ///
    /// # Errors
    /// When the pointer is not aligned.
    pub fn script(&self) -> Result<Option<FileView<'a>>, DecodeError> {
        if self.message.version < layout::VERSION_SEQUENCE {
            return Ok(None);
        }
        file_or_null(field!(self.raw, script), "exec.script")
    }

    /// Working directory.
    ///
    /// # Errors
    /// When the pointer is null or not aligned.
    pub fn cwd(&self) -> Result<Option<FileView<'a>>, DecodeError> {
        if self.message.version < layout::VERSION_START_TIME {
            return Ok(None);
        }
        file(field!(self.raw, cwd), "exec.cwd").map(Some)
    }

    /// Highest open file descriptor.
    #[must_use]
    pub fn last_fd(&self) -> Option<i32> {
        (self.message.version >= layout::VERSION_PARENT_TOKEN).then(|| field!(self.raw, last_fd))
    }

    /// Processor type and subtype of the program.
    #[must_use]
    pub fn cpu_type(&self) -> Option<(i32, i32)> {
        (self.message.version >= layout::VERSION_CPU_TYPE)
            .then(|| (field!(self.raw, image_cputype), field!(self.raw, image_cpusubtype)))
    }

    /// How many arguments there are.
    pub fn argument_count(&self, arguments: &impl ExecArguments) -> u32 {
        // SAFETY: the pointer is this view's.
        unsafe { arguments.count(self.raw) }
    }

    /// One argument, `None` from the last on.
    ///
    /// # Errors
    /// When its length or address cannot be right.
    pub fn argument(
        &self,
        arguments: &impl ExecArguments,
        index: u32,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        if index >= self.argument_count(arguments) {
            return Ok(None);
        }
        // SAFETY: the pointer is this view's, and the index has been checked.
        let token = unsafe { arguments.argument(self.raw, index) };
        bytes(token, ARGUMENTS_BYTES_MAX, "exec argument").map(Some)
    }
}

/// A process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessView<'a> {
    raw: NonNull<RawProcess>,
    message: MessageView<'a>,
}

/// The fields of a process that are plain values in every version.
#[derive(Clone, Copy, Debug)]
pub struct ProcessValues {
    /// Who it is.
    pub audit_token: RawAuditToken,
    /// Parent now.
    pub ppid: i32,
    /// Parent at birth.
    pub original_ppid: i32,
    /// Process group.
    pub group_id: i32,
    /// POSIX session.
    pub session_id: i32,
    /// Flags of the code signature.
    pub codesigning_flags: u32,
    /// Whether it is a part of the system.
    pub is_platform_binary: bool,
    /// Whether it is a client of EndpointSecurity.
    pub is_es_client: bool,
    /// Hash of the code directory.
    pub cdhash: [u8; 20],
}

impl<'a> ProcessView<'a> {
    /// The plain values.
    #[must_use]
    pub const fn values(&self) -> ProcessValues {
        ProcessValues {
            audit_token: field!(self.raw, audit_token),
            ppid: field!(self.raw, ppid),
            original_ppid: field!(self.raw, original_ppid),
            group_id: field!(self.raw, group_id),
            session_id: field!(self.raw, session_id),
            codesigning_flags: field!(self.raw, codesigning_flags),
            is_platform_binary: field!(self.raw, is_platform_binary) != 0,
            is_es_client: field!(self.raw, is_es_client) != 0,
            cdhash: field!(self.raw, cdhash),
        }
    }

    /// Identifier in the code signature.
    ///
    /// # Errors
    /// When its length or address cannot be right.
    pub fn signing_id(&self) -> Result<&'a [u8], DecodeError> {
        bytes(field!(self.raw, signing_id), IDENTIFIER_BYTES_MAX, "signing_id")
    }

    /// Team in the code signature.
    ///
    /// # Errors
    /// When its length or address cannot be right.
    pub fn team_id(&self) -> Result<&'a [u8], DecodeError> {
        bytes(field!(self.raw, team_id), IDENTIFIER_BYTES_MAX, "team_id")
    }

    /// The program's file.
    ///
    /// # Errors
    /// When the pointer is null or not aligned.
    pub fn executable(&self) -> Result<FileView<'a>, DecodeError> {
        file(field!(self.raw, executable), "executable")
    }

    /// Controlling terminal.
    ///
    /// # Errors
    /// When the pointer is not aligned.
    pub fn tty(&self) -> Result<Option<FileView<'a>>, DecodeError> {
        if self.message.version < layout::VERSION_SEQUENCE {
            return Ok(None);
        }
        file_or_null(field!(self.raw, tty), "tty")
    }

    /// When fork made it.
    #[must_use]
    pub fn start_time(&self) -> Option<RawTimeval> {
        (self.message.version >= layout::VERSION_START_TIME).then(|| field!(self.raw, start_time))
    }

    /// The process held responsible for it.
    #[must_use]
    pub fn responsible(&self) -> Option<RawAuditToken> {
        (self.message.version >= layout::VERSION_PARENT_TOKEN)
            .then(|| field!(self.raw, responsible_audit_token))
    }

    /// Its parent.
    #[must_use]
    pub fn parent(&self) -> Option<RawAuditToken> {
        (self.message.version >= layout::VERSION_PARENT_TOKEN)
            .then(|| field!(self.raw, parent_audit_token))
    }
}

/// A file.
#[derive(Clone, Copy, Debug)]
pub struct FileView<'a> {
    raw: NonNull<RawFile>,
    memory: PhantomData<&'a RawFile>,
}

impl<'a> FileView<'a> {
    /// Absolute path.
    ///
    /// # Errors
    /// When its length or address cannot be right.
    pub fn path(&self) -> Result<&'a [u8], DecodeError> {
        bytes(field!(self.raw, path), PATH_BYTES_MAX, "path")
    }

    /// Whether the path was cut.
    #[must_use]
    pub const fn path_truncated(&self) -> bool {
        field!(self.raw, path_truncated) != 0
    }

    /// The file as the event found it.
    #[must_use]
    pub const fn stat(&self) -> RawStat {
        field!(self.raw, stat)
    }
}

/// Checks a pointer found in a message.
fn follow<T>(pointer: *const T, field: &'static str) -> Result<NonNull<T>, DecodeError> {
    let pointer = NonNull::new(pointer.cast_mut()).ok_or(DecodeError::NullPointer { field })?;
    if !pointer.is_aligned() {
        return Err(DecodeError::MisalignedPointer { field });
    }
    Ok(pointer)
}

/// Looks at a file found in a message; its pointer must come from there.
fn file<'a>(raw: *const RawFile, field: &'static str) -> Result<FileView<'a>, DecodeError> {
    Ok(FileView { raw: follow(raw, field)?, memory: PhantomData })
}

/// Likewise, where there may be none.
fn file_or_null<'a>(
    raw: *const RawFile,
    field: &'static str,
) -> Result<Option<FileView<'a>>, DecodeError> {
    if raw.is_null() { Ok(None) } else { file(raw, field).map(Some) }
}

/// Looks at the bytes of a string found in a message; the token must come from there.
fn bytes<'a>(
    token: RawString,
    bytes_max: usize,
    field: &'static str,
) -> Result<&'a [u8], DecodeError> {
    if token.length == 0 {
        return Ok(&[]);
    }
    if token.length > bytes_max {
        return Err(DecodeError::StringLength { field, length: token.length, bytes_max });
    }
    let data = follow(token.data, field)?;
    // SAFETY: by the contract of `MessageView::new` that many initialised bytes lie there and
    // outlive the message; the length has been bounded far below `isize::MAX`.
    Ok(unsafe { std::slice::from_raw_parts(data.as_ptr(), token.length) })
}
