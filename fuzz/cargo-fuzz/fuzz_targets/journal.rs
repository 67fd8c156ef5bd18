//! `journal` under libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::targets::journal(data));
