//! What the fuzzer does, over its seeds and over bytes at random.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tests::fuzz::run;

#[test]
fn the_fuzzers_seeds_are_survived() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/seeds");
    let mut count = 0;
    for seed in fs::read_dir(&seeds).expect("there are seeds") {
        run(&fs::read(seed.expect("a seed has a name").path()).expect("a seed can be read"));
        count += 1;
    }
    assert!(count >= 20, "{count} seeds");
    println!("note: {count} seeds of the fuzzer");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn bytes_at_random_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        run(&bytes);
    }
}
