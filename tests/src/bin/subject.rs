//! A process that behaves as a test asks: `bygone-test-subject WHAT [ARG…]`.
//!
//! | what | behaviour |
//! | --- | --- |
//! | `threads CODE` | starts seven more threads that wait for ever, then ends them all by `exit_group(CODE)` from one that is not the leader |
//! | `signal NUMBER` | sends itself a signal |
//! | `wait` | ends with code 3 when its standard input is closed |

use std::io::Read;
use std::sync::Arc;
use std::sync::Barrier;

use rustix::process::{Signal, getpid, kill_process};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let number: i32 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    match what.as_str() {
        "threads" => exit_among_threads(number),
        "signal" => signal_itself(number),
        "wait" => {
            let mut rest = Vec::new();
            let read = std::io::stdin().read_to_end(&mut rest);
            std::process::exit(if read.is_ok() { 3 } else { 4 });
        }
        _ => std::process::exit(64),
    }
}

#[expect(clippy::exit, reason = "exit_group from a thread is what is tested")]
fn exit_among_threads(code: i32) {
    const THREADS: usize = 8;
    let started = Arc::new(Barrier::new(THREADS));
    for index in 1..THREADS {
        let started = Arc::clone(&started);
        std::thread::spawn(move || {
            started.wait();
            if index == 1 {
                std::process::exit(code);
            }
            loop {
                std::thread::park();
            }
        });
    }
    started.wait();
    loop {
        std::thread::park();
    }
}

fn signal_itself(number: i32) {
    let Some(signal) = Signal::from_named_raw(number) else { return };
    // The first SIGSEGV only takes away the handler that the standard library installs.
    while kill_process(getpid(), signal).is_ok() {
        std::thread::yield_now();
    }
}
