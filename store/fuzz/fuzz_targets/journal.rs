//! Feeds `journal` of the library with what libFuzzer makes up.

#![no_main]

use bygone_store_fuzz::Ways;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bygone_store_fuzz::journal(data, Ways::of(data)));
