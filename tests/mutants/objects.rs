//! Two guests without instructions that call, and touch memory: what each call and each access must come to is written down.

mod scene;
mod script;

use tests::Sim;
use vmsa::{BbmLevel, DirtyLevel, Features};

use crate::run::{Run, Seen};
use scene::Scene;

/// Does the script on a machine that has everything, and on one that has nothing.
pub(crate) fn run(run: &mut Run) -> Result<(), Seen> {
    let plain = Features { pa_bits: 48, ..Features::default() };
    let rich = Features {
        pa_bits: 48,
        tlbi_range: true,
        level_hint: true,
        forced_write_back: true,
        no_clean_for_fetch: true,
        no_invalidate_for_fetch: true,
        bbm: BbmLevel::Direct,
        dirty: DirtyLevel::Dirty,
        ..Features::default()
    };
    let unforced = Features { forced_write_back: false, ..rich };
    for features in [rich, unforced, plain] {
        let mut scene = Scene::new(features);
        for step in script::STEPS {
            let complaint = step(&mut scene).err();
            let said = scene.said(run.gate, complaint);
            Sim::run_on(0);
            run.after(said)?;
        }
    }
    Ok(())
}
