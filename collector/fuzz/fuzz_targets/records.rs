//! Feeds the decoder of the kernel's records with what libFuzzer makes up, and makes rows of what it
//! takes for events.

#![no_main]

use bygone::publish::process_ebpf::decode_life;
use bygone::tables::Subscriber;
use bygone::tables::events::process_events::ProcessEvents;
use bygone::tables::events::process_exit_events::ProcessExitEvents;
use bygone::tables::events::process_fork_events::ProcessForkEvents;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(event) = decode_life(data) {
        let rows = [
            ProcessEvents::row(&event).is_some(),
            ProcessForkEvents::row(&event).is_some(),
            ProcessExitEvents::row(&event).is_some(),
        ];
        assert_eq!(rows.iter().filter(|is_row| **is_row).count(), 1);
    }
});
