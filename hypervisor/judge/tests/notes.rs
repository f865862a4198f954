//! The two places where notes are kept, a machine's and a trace's: the same is done to both, and both say the same.

use judge::SparseNotes;
use oracle::{Frames, LiveNotes, Note, Notes};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
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
    // The same steps every day.
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

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

/// Giants, blocks and pages are counted apart, each in its own place.
#[test]
fn a_leaf_of_each_size_leads_to_its_frames_and_no_others() {
    const BASE: u64 = 0x4010_0000;
    // From the middle of one gibibyte, over a whole one, into a third.
    let frames = (1 << 19) + 512;
    for (at, pages) in [(0x8000_0000, 1 << 18), (0x8020_0000, 512), (0x8020_3000, 1), (0x4020_0000, 512)] {
        let (mut notes, mut counts) = (vec![Note::default(); frames], vec![0; LiveNotes::counts(frames)]);
        let mut live = LiveNotes::new(Hpa(BASE), &mut notes, &mut counts);
        let leaf = Frames::new(Hpa(at), pages);
        live.count_leaf(leaf, true).unwrap();
        let last = leaf.end().0 - 4096;
        for (page, is_there) in [(at - 4096, false), (at, true), (last, true), (last + 4096, false), (BASE, false)] {
            assert_eq!(live.has_leaf(Frames::new(Hpa(page), 1)), is_there, "{page:#x} by a leaf at {at:#x}");
        }
        assert!(live.has_leaf(Frames::new(Hpa(BASE), frames as u64)));
        assert!(!live.has_leaf(Frames::new(Hpa(at), 0)), "no frames at all");
        live.count_leaf(leaf, false).unwrap();
        assert!(!live.has_leaf(Frames::new(Hpa(BASE), frames as u64)));
    }
}

/// What is not watched has no note, and is no reason to fail.
#[test]
fn frames_beside_the_memory_have_no_notes() {
    let (mut pages, mut counts) = (vec![Note::default(); 4], vec![0; LiveNotes::counts(4)]);
    let mut live = LiveNotes::new(Hpa(FIRST), &mut pages, &mut counts);
    for beside in [FIRST - 4096, FIRST + 4 * 4096] {
        live.change(Hpa(beside), |_| panic!("it has no note")).unwrap();
        live.count_leaf(Frames::new(Hpa(beside), 1), true).unwrap();
        assert_eq!(live.get(Hpa(beside)), Note::default());
    }
    live.change(Hpa(FIRST + 3 * 4096), |note| note.count_leaf(true)).unwrap();
    let mut seen = Vec::new();
    live.each(Frames::new(Hpa(FIRST - 4096), 9), |run, note| seen.push((run.first.0, run.pages, note.has_leaf())));
    let expected = (0..4).map(|page| (FIRST + page * 4096, 1, page == 3)).collect::<Vec<_>>();
    assert_eq!(seen, expected);
    live.change_all(Frames::new(Hpa(FIRST), 2), |run, note| note.count_leaf(run.first.0 == FIRST + 4096)).unwrap();
    assert_eq!([0, 1, 2].map(|page| live.get(Hpa(FIRST + page * 4096)).has_leaf()), [false, true, false]);
}

/// From the last page of one block on, over a whole one, into a third; and at most over the end of one gibibyte.
#[test]
fn there_are_as_many_counts_as_frames_can_lie_in_blocks_and_giants() {
    assert_eq!(LiveNotes::counts(514), 3 + 2);
    assert_eq!(LiveNotes::counts((1 << 18) + 2), (512 + 2) + 3);
}
