//! Facts about the running system that messages do not carry.

#![expect(unsafe_code, reason = "sysctl and proc_pidinfo are C functions")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Longest text of a sysctl that is read, in bytes; a UUID has 36.
const TEXT_BYTES_MAX: usize = 64;

/// What the system would not say.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The sysctl could not be read.
    #[error("read sysctl {}", name.to_string_lossy())]
    Sysctl {
        /// Its name.
        name: &'static CStr,
        /// The system's answer.
        source: io::Error,
    },
    /// The sysctl had another size than expected.
    #[error("sysctl {} has {bytes} bytes", name.to_string_lossy())]
    Size {
        /// Its name.
        name: &'static CStr,
        /// Its size.
        bytes: usize,
    },
    /// The version is not numbers between points.
    #[error("system version {text:?} is not understood")]
    Version {
        /// The version.
        text: String,
    },
    /// The boot time is out of range.
    #[error("boot time {sec} s is out of range")]
    BootTime {
        /// Seconds since the Unix epoch.
        sec: i64,
    },
}

/// When the system started, in nanoseconds since the Unix epoch, to the microsecond.
///
/// The system moves it whenever the clock is set, so that it is always the present clock minus
/// the time since boot, sleep included.
///
/// # Errors
/// When the system does not say.
pub fn boot_time_ns() -> Result<i64, SystemError> {
    let name = c"kern.boottime";
    let mut bytes = [0; size_of::<libc::timeval>()];
    let length = read(name, &mut bytes)?;
    if length != bytes.len() {
        return Err(SystemError::Size { name, bytes: length });
    }
    // SAFETY: any bytes are a timeval, which is two integers.
    let time: libc::timeval = unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) };
    time.tv_sec
        .checked_mul(1_000_000_000)
        .and_then(|ns| ns.checked_add(i64::from(time.tv_usec) * 1_000))
        .ok_or(SystemError::BootTime { sec: time.tv_sec })
}

/// When the living process `pid` was made by fork, in nanoseconds since the Unix epoch. `None` when
/// there is no such process or it may not be asked about.
pub(crate) fn process_start_ns(pid: u32) -> Option<i64> {
    const BYTES: i32 = size_of::<libc::proc_bsdinfo>() as i32;
    let pid = i32::try_from(pid).ok()?;
    let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    // SAFETY: the system writes at most the given number of bytes.
    let written = unsafe {
        libc::proc_pidinfo(pid, libc::PROC_PIDTBSDINFO, 0, info.as_mut_ptr().cast(), BYTES)
    };
    if written != BYTES {
        return None;
    }
    // SAFETY: the structure is integers and arrays of them, for which zeroes are values too.
    let info = unsafe { info.assume_init() };
    let seconds = i64::try_from(info.pbi_start_tvsec).ok()?;
    let micros = i64::try_from(info.pbi_start_tvusec).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(micros.checked_mul(1_000)?)
}

/// The UUID that the kernel drew at boot, in text form.
///
/// # Errors
/// When the system does not say.
pub fn boot_session_uuid() -> Result<String, SystemError> {
    text(c"kern.bootsessionuuid")
}

/// Major, minor and patch version of the system.
///
/// # Errors
/// When the system does not say, or not in numbers.
pub(crate) fn version() -> Result<(u64, u64, u64), SystemError> {
    let text = text(c"kern.osproductversion")?;
    let mut numbers = text.split('.').map(str::parse::<u64>);
    let mut next = || numbers.next().unwrap_or(Ok(0));
    match (next(), next(), next()) {
        (Ok(major), Ok(minor), Ok(patch)) => Ok((major, minor, patch)),
        _ => Err(SystemError::Version { text: text.to_owned() }),
    }
}

/// Reads a sysctl that is text.
fn text(name: &'static CStr) -> Result<String, SystemError> {
    let mut bytes = [0; TEXT_BYTES_MAX];
    let length = read(name, &mut bytes)?;
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    Ok(text.trim_end_matches('\0').to_owned())
}

/// Reads a sysctl and returns its size.
fn read(name: &'static CStr, bytes: &mut [u8]) -> Result<usize, SystemError> {
    let mut length = bytes.len();
    // SAFETY: the name ends with a NUL, and the system writes at most `length` bytes.
    let status = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            ptr::null_mut(),
            0,
        )
    };
    if status == 0 {
        Ok(length)
    } else {
        Err(SystemError::Sysctl { name, source: io::Error::last_os_error() })
    }
}
