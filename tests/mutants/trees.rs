//! One programme of operations on a tree, on machines of every kind: against the flat map, or under the oracle.

#[path = "../tables/random/marks.rs"]
mod marks;
#[path = "../tables/random/player.rs"]
mod player;
#[path = "../tables/random/program.rs"]
mod program;
#[path = "../tables/random/watch.rs"]
mod watch;

mod judged;
mod raced;
mod script;

use stage2::Mmu;
use tests::Sim;
use vmsa::{BbmLevel, DirtyLevel, Features, Geometry, Level};

use crate::run::{Gate, Run, Seen};
use judged::Judged;
use player::Player;
use program::Turn;

/// Does the programme on each machine.
pub(crate) fn run(run: &mut Run) -> Result<(), Seen> {
    for (features, geometry) in machines() {
        let turns = script::turns();
        match run.gate {
            Gate::Model => play(run, features, geometry, &turns)?,
            Gate::Oracle => judge(run, features, geometry, &turns)?,
        }
    }
    Ok(())
}

fn play(run: &mut Run, features: Features, geometry: Geometry, turns: &[Turn]) -> Result<(), Seen> {
    let sim = Sim::with_cpus(features, 8 << 20, 3);
    let mut player = Player::new(&sim, geometry, turns);
    for turn in turns {
        let before = vttbrs(&sim);
        let mut faults = player.take(turn);
        if vttbrs(&sim) != before {
            faults.push(format!("VTTBR_EL2 was {before:x?}, and is {:x?}", vttbrs(&sim)));
        }
        faults.extend(odd_entries(&player, turn));
        run.after(faults)?;
    }
    let left = player.end();
    run.after((left > 0).then(|| format!("{left} tables are left when nothing is mapped")).into_iter().collect())
}

/// Returns VTTBR_EL2 of every CPU.
fn vttbrs(sim: &Sim) -> Vec<u64> {
    let vttbr = |cpu| {
        Sim::run_on(cpu);
        sim.vttbr()
    };
    let all = (0..sim.cpus()).map(vttbr).collect();
    Sim::run_on(0);
    all
}

/// Returns what no entry may say after an operation: a block is uncached only on the way, and MemAttr means something (D8.6).
fn odd_entries(player: &Player<'_>, (_, step, _): &Turn) -> Vec<String> {
    let is_forced = player.world.sim.features().forced_write_back;
    let walks = step.ranges().into_iter().filter_map(|range| player.world.tree.walk(player.world.sim, range.start));
    let leaves = walks.filter(|walk| walk.descriptor & 1 != 0);
    let odd = leaves.filter(|walk| {
        let mem_attr = walk.descriptor >> 2 & 0xf;
        let is_uncached = walk.level != Level::L3 && walk.descriptor >> 16 & 1 != 0;
        is_uncached || is_forced && !matches!(mem_attr, 0..=3 | 5..=7)
    });
    odd.map(|walk| format!("a leaf of {:?} says {:#x}", walk.level, walk.descriptor)).collect()
}

fn judge(run: &mut Run, features: Features, geometry: Geometry, turns: &[Turn]) -> Result<(), Seen> {
    let checked = Sim::with_cpus(features, 8 << 20, 3).checked();
    let mut judged = Judged::new(&checked, geometry);
    turns.iter().try_for_each(|turn| run.after(judged.take(turn)))
}

/// Every level of FEAT_BBM and FEAT_HAFDBS, with and without what makes invalidations shorter, and roots of every kind.
fn machines() -> Vec<(Features, Geometry)> {
    use BbmLevel::{BreakFirst, Direct, NoTranslationCaching};
    use DirtyLevel::{AccessFlag, Dirty, None};
    let old = Features { pa_bits: 48, ..Features::default() };
    let rich = Features {
        pa_bits: 48,
        tlbi_range: true,
        level_hint: true,
        forced_write_back: true,
        execute_per_level: true,
        vmid16: true,
        ..Features::default()
    };
    let shape = |bits, start, features| Geometry::starting_at(bits, start, &features).expect("a shape that there is");
    [
        (39, Level::L1, Features { bbm: BreakFirst, dirty: None, ..old }),
        (40, Level::L1, Features { bbm: Direct, dirty: Dirty, ..rich }),
        (39, Level::L1, Features { bbm: NoTranslationCaching, dirty: AccessFlag, ..rich }),
        (40, Level::L0, Features { bbm: BreakFirst, dirty: Dirty, ..old }),
        (34, Level::L2, Features { bbm: Direct, dirty: None, ..old }),
        (48, Level::L0, Features { bbm: NoTranslationCaching, dirty: None, ..rich }),
        (40, Level::L1, Features { bbm: BreakFirst, dirty: None, ..rich }),
    ]
    .map(|(bits, start, features)| (features, shape(bits, start, features)))
    .to_vec()
}
