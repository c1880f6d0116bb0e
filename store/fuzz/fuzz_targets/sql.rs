//! Feeds `sql` of the library with what libFuzzer makes up.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bygone_store_fuzz::sql(data));
