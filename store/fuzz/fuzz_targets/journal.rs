#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bygone_store_fuzz::journal(data));
