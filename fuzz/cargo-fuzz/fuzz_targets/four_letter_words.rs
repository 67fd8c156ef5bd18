//! `four_letter_words` under libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::targets::four_letter_words(data));
