//! Having every CPU make a message.
//!
//! A thread that starts and ends at once is told by the kernel and harms nobody. Made on each CPU, it
//! shows at the start that the connector tells anything and which number each CPU is at; later, how
//! many messages a CPU lost that has made none since.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Starts and ends a thread on each CPU that this process may use.
pub(super) fn touch_each_cpu() {
    let touch = || {
        let Ok(allowed) = sched_getaffinity(None) else {
            return touch();
        };
        for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)) {
            let mut only = CpuSet::new();
            only.set(cpu);
            // A CPU that was taken away makes no messages either.
            if sched_setaffinity(None, &only).is_ok() {
                touch();
            }
        }
    };
    // On a thread of its own, since it moves from CPU to CPU.
    join(std::thread::Builder::new().name("stimulus".to_owned()).spawn(touch));
}

fn touch() {
    join(std::thread::Builder::new().spawn(|| ()));
}

/// One that cannot be started is no message: its CPU goes uncounted, and nothing is wrong otherwise.
fn join(thread: std::io::Result<std::thread::JoinHandle<()>>) {
    if thread.is_ok_and(|thread| thread.join().is_err()) {
        tracing::debug!("a thread that only starts and ends did not");
    }
}
