//! The netlink socket.
//!
//! **Invariant:** only what the kernel itself sent is read: netlink lets a privileged process send to
//! others.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{CONNECTOR, SocketAddrNetlink};
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

use super::AttachError;
use super::message::{IGNORE, LISTEN, Message, ParseError, parse, request};

/// The multicast group of the proc connector: the bit of `CN_IDX_PROC`.
const GROUP: u32 = 1;

/// Bytes of the longest datagram that is read whole; the kernel sends 76.
const DATAGRAM_MAX: usize = 1024;

/// What one read gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A message.
    Message(Message),
    /// Something that is none, or not of the kernel.
    Bad(ParseError),
    /// The kernel had no room for messages since the last read.
    Overflow,
    /// Nothing waits.
    Nothing,
}

/// The socket, listening. Dropping it tells the kernel to stop.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Opens a socket with a buffer of `buffer_bytes` in the kernel, or as much as this user may have,
    /// and asks the kernel to send. The answer repeats `ack` plus 1.
    pub(super) fn open(buffer_bytes: usize, ack: u32) -> Result<Self, AttachError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(CONNECTOR))
            .map_err(|error| AttachError::Socket(error.into()))?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUP)).map_err(|error| match error {
            Errno::PERM => AttachError::NoRight,
            error => AttachError::Bind(error.into()),
        })?;
        // The kernel doubles what is asked for.
        let half = buffer_bytes / 2;
        sockopt::set_socket_recv_buffer_size_force(&socket, half)
            .or_else(|_denied| sockopt::set_socket_recv_buffer_size(&socket, half))
            .map_err(|error| AttachError::Buffer(error.into()))?;
        let socket = Self(socket);
        socket.send(&request(LISTEN, ack)).map_err(|error| AttachError::Listen(error.into()))?;
        Ok(socket)
    }

    fn send(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        sendto(&self.0, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
    }

    /// Size of the kernel's buffer, its own bookkeeping included.
    pub(super) fn buffer_bytes(&self) -> Option<u64> {
        u64::try_from(sockopt::socket_recv_buffer_size(&self.0).ok()?).ok()
    }

    /// Waits until something can be read, for `limit` at most.
    pub(super) fn wait(&self, limit: Duration) -> rustix::io::Result<()> {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads one datagram without waiting.
    pub(super) fn receive(&self) -> rustix::io::Result<Received> {
        let mut bytes = [0; DATAGRAM_MAX];
        loop {
            return match recvfrom(&self.0, &mut bytes, RecvFlags::empty()) {
                Ok((length, _, sender)) => {
                    let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
                    if sender.is_none_or(|sender| sender.pid() != 0) {
                        continue;
                    }
                    Ok(match parse(bytes.get(..length).unwrap_or_default()) {
                        Ok(message) => Received::Message(message),
                        Err(error) => Received::Bad(error),
                    })
                }
                Err(Errno::AGAIN) => Ok(Received::Nothing),
                Err(Errno::NOBUFS) => Ok(Received::Overflow),
                Err(Errno::INTR) => continue,
                Err(error) => Err(error),
            };
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Kernels before 6.6 count listeners and would go on for nobody.
        if let Err(error) = self.send(&request(IGNORE, 0)) {
            tracing::debug!(%error, "the proc connector is not told to stop");
        }
    }
}
