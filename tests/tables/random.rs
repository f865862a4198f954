//! Random programs of operations from three CPUs, and of what guests do meanwhile, against the flat map.
//!
//! After each operation every CPU sees, at pages around the ends of leaves of every size, what the map says, and nothing else.
//! While it is under way, a page that it is not for shows as it was, one that it is for as it was or will be; or an access
//! faults. What was stored to is told of by the next harvest or unmapping that tells.

mod marks;
mod player;
mod program;
mod strategies;
mod watch;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tests::Sim;
use vmsa::{Features, Geometry};

use player::Player;
use program::Turn;
use strategies::{machines, programs, shapes};

fn play(features: Features, geometry: Geometry, program: &[Turn]) -> Result<(), TestCaseError> {
    let sim = Sim::with_cpus(features, 8 << 20, 3);
    let mut player = Player::new(&sim, geometry, program);
    for turn in program {
        let mut faults = player.take(turn);
        faults.truncate(8);
        prop_assert!(faults.is_empty(), "{turn:?}:\n{}", faults.join("\n"));
    }
    prop_assert_eq!(player.end(), 0, "tables are left when nothing is mapped");
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    // The same programs every day: what nobody has seen yet is searched for by `--full`.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..cases(1200) })]

    #[test]
    fn no_cpu_ever_sees_anything_else_than_the_map(features in machines(), geometry in shapes(), program in programs(20)) {
        play(features, geometry, &program)?;
    }
}

proptest! {
    #![proptest_config(cases(40_000))]

    #[test]
    #[ignore = "full: thousands of long programs"]
    fn no_cpu_ever_sees_anything_else_than_the_map_full(
        features in machines(), geometry in shapes(), program in programs(40),
    ) {
        play(features, geometry, &program)?;
    }
}
