#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| confcast::testing::fuzz::settings(data));
