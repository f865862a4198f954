//! The two places where notes are kept, a machine's and a trace's: the same is done to both, and both say the same.

use judge::SparseNotes;
use oracle::{Frames, LiveNotes, Note, Notes};
use proptest::prelude::*;
use vmsa::Hpa;

/// Memory that does not begin at a block's address, and ends in the middle of one.
const FIRST: u64 = 0x4010_0000;
const PAGES: u64 = 3 * 512 + 7;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A leaf that leads to a page, or to a block, comes or goes.
    Leaf { page: u64, is_block: bool, is_new: bool },
    /// The counts of some frames are changed one by one.
    Each { page: u64, pages: u64, is_new: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..PAGES, any::<bool>(), any::<bool>()).prop_map(|(page, is_block, is_new)| Step::Leaf {
            page,
            is_block,
            is_new
        }),
        (0..PAGES, 1..600u64, any::<bool>()).prop_map(|(page, pages, is_new)| Step::Each { page, pages, is_new }),
    ]
}

fn apply(notes: &mut impl Notes, step: Step) {
    match step {
        Step::Leaf { page, is_block, is_new } => {
            let frame = FIRST + page * 4096;
            let frames = if is_block { (frame & !0x1f_ffff, 512) } else { (frame, 1) };
            if frames.0 >= FIRST {
                notes.count_leaf(Frames::new(Hpa(frames.0), frames.1), is_new).unwrap();
            }
        }
        Step::Each { page, pages, is_new } => {
            let frames = Frames::new(Hpa(FIRST + page * 4096), pages.min(PAGES - page));
            notes.change_all(frames, |_, note| note.count_leaf(is_new)).unwrap();
        }
    }
}

/// Returns whether a leaf leads to any of some frames, and how many frames `each` has shown.
fn seen(notes: &impl Notes, page: u64, pages: u64) -> (bool, u64) {
    let frames = Frames::new(Hpa(FIRST + page * 4096), pages.min(PAGES - page));
    let mut shown = 0;
    notes.each(frames, |run, _| shown += run.pages);
    (notes.has_leaf(frames), shown)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Leaves that come more often than they go: a block's count and its pages' are kept apart on a machine.
    #[test]
    fn a_machines_notes_and_a_traces_say_the_same(
        steps in prop::collection::vec(step(), 1..40),
        looks in prop::collection::vec((0..PAGES, 1..1200u64), 10),
    ) {
        let mut pages = vec![Note::default(); PAGES as usize];
        let mut counts = vec![0; LiveNotes::counts(PAGES as usize)];
        let mut live = LiveNotes::new(Hpa(FIRST), &mut pages, &mut counts);
        let mut sparse = SparseNotes::default();
        for step in steps {
            // What goes has come before: a machine never takes out what is not there.
            let (Step::Leaf { is_new, .. } | Step::Each { is_new, .. }) = step;
            if is_new {
                apply(&mut live, step);
                apply(&mut sparse, step);
                apply(&mut live, step);
                apply(&mut sparse, step);
            }
        }
        for (page, pages) in looks {
            prop_assert_eq!(seen(&live, page, pages), seen(&sparse, page, pages));
        }
    }

    #[test]
    fn what_came_and_went_is_not_there(steps in prop::collection::vec(step(), 1..30)) {
        let mut pages = vec![Note::default(); PAGES as usize];
        let mut counts = vec![0; LiveNotes::counts(PAGES as usize)];
        let mut live = LiveNotes::new(Hpa(FIRST), &mut pages, &mut counts);
        let mut sparse = SparseNotes::default();
        let set = |step, to| match step {
            Step::Leaf { page, is_block, .. } => Step::Leaf { page, is_block, is_new: to },
            Step::Each { page, pages, .. } => Step::Each { page, pages, is_new: to },
        };
        for to in [true, false] {
            steps.iter().for_each(|step| apply(&mut live, set(*step, to)));
            steps.iter().for_each(|step| apply(&mut sparse, set(*step, to)));
            prop_assert_eq!(seen(&live, 0, PAGES), seen(&sparse, 0, PAGES));
        }
        prop_assert_eq!(seen(&live, 0, PAGES), (false, PAGES));
    }
}
