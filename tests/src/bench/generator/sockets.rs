//! Connections, in the columns of osquery's `socket_events`. Bygone does not record them yet, so
//! the table is the benchmark's own.

use bygone_store::{Computed, EventTable};

use super::draw::Draw;
use super::life::Life;

/// Sockets that were connected, accepted or bound.
#[derive(Clone, Debug, PartialEq, EventTable)]
pub struct SocketEvents {
    /// What happened: `bind`, `connect` or `accept`.
    pub action: String,
    /// Process id.
    pub pid: u32,
    /// Path of the program.
    #[column(bloom)]
    pub path: Option<String>,
    /// Number of the file descriptor.
    pub fd: String,
    /// Login user id.
    pub auid: u32,
    /// Result: `succeeded` or `failed`.
    pub status: String,
    /// Address family: 2 is IPv4, 10 IPv6.
    pub family: i32,
    /// Protocol: 6 is TCP, 17 UDP.
    pub protocol: i32,
    /// The own address.
    pub local_address: Option<String>,
    /// The other's address.
    #[column(bloom)]
    pub remote_address: Option<String>,
    /// The own port.
    pub local_port: Option<i32>,
    /// The other's port.
    pub remote_port: Option<i32>,
    /// When, in nanoseconds since the Unix epoch.
    #[column(time)]
    pub time_ns: i64,
    /// Whole seconds between boot and the event.
    #[column(uptime)]
    pub uptime: Computed,
    /// Start of the process, in nanoseconds since boot.
    #[column(bloom)]
    pub start_ns: u64,
    /// Identity of the process.
    #[column(guid(pid, start_ns))]
    pub guid: Computed,
}

pub(super) fn row(
    time_ns: i64,
    life: &Life,
    path: &str,
    port: u32,
    draw: &mut Draw,
) -> SocketEvents {
    let (action, protocol, remote_port) = match draw.below(100) {
        0..=44 => ("connect", 6, 443),
        45..=59 => ("connect", 17, 53),
        60..=74 => ("connect", 6, 5_432),
        75..=79 => ("connect", 6, 22),
        80..=96 => ("accept", 6, 32_768 + draw.below(28_232) as i32),
        _ => ("bind", 6, 0),
    };
    let failed = action == "connect" && draw.below(50) == 0;
    let local_port = if action == "accept" { 8_080 } else { 32_768 + port as i32 };
    let (family, remote) = match draw.squared(2_000) {
        host if host % 10 == 9 => (10, format!("2001:db8:{:x}::{host:x}", host % 97)),
        host => (2, format!("10.{}.{}.{}", host % 4, host / 256, host % 256)),
    };
    let bind = action == "bind";
    SocketEvents {
        action: action.to_owned(),
        pid: life.pid,
        path: Some(path.to_owned()),
        fd: (3 + draw.squared(60)).to_string(),
        auid: if life.uid < 1_000 { u32::MAX } else { life.uid },
        status: if failed { "failed" } else { "succeeded" }.to_owned(),
        family,
        protocol,
        local_address: (!failed)
            .then(|| if family == 2 { "10.0.0.5" } else { "2001:db8::5" }.into()),
        remote_address: (!bind).then_some(remote),
        local_port: (!failed).then_some(local_port),
        remote_port: (!bind).then_some(remote_port),
        time_ns,
        uptime: Computed,
        start_ns: life.start_ns,
        guid: Computed,
    }
}
