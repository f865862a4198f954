//! Blocks become tables, and tables blocks: as the machine's level of FEAT_BBM allows.

use super::*;

use BbmLevel::{BreakFirst, Direct, NoTranslationCaching};

const LEVELS: [BbmLevel; 3] = [BreakFirst, NoTranslationCaching, Direct];
/// A block's place, beside the table that is there.
const BLOCK: Ipa = Ipa(BASE.0 + (2 << 20));

fn block(bbm: BbmLevel) -> Litmus {
    let litmus = Litmus::new(resizing(bbm));
    litmus.make(Level::L2, BLOCK, leaf(A, RW));
    litmus.fill(litmus.frame(3), Level::L3, A, RW);
    litmus
}

fn table(litmus: &Litmus) -> Entry {
    Entry::Table(litmus.frame(3))
}

fn untranslated(output: Hpa) -> Entry {
    leaf_with(output, RW, |a| a.uncached = true)
}

#[test]
fn breaking_first_is_right_at_every_level() {
    for bbm in LEVELS {
        let litmus = block(bbm);
        litmus.make(Level::L2, BLOCK, Entry::Invalid);
        litmus.invalidate([by_ipa(BLOCK.add(0x7000))]);
        litmus.make(Level::L2, BLOCK, table(&litmus));
        litmus.sees(BLOCK.add(0x7000), &[Seen::Page(A.add(0x7000), RW)]);
        litmus.make(Level::L2, BLOCK, Entry::Invalid);
        litmus.invalidate([Tlbi::Vmid]);
        litmus.make(Level::L2, BLOCK, leaf(A, RW));
        litmus.sees(BLOCK.add(0x7000), &[Seen::Page(A.add(0x7000), RW)]);
        litmus.breaks(&[]);
    }
}

#[test]
fn a_block_becomes_a_table_directly_at_level_2_only() {
    for (bbm, rules) in [(BreakFirst, vec!["R5"]), (NoTranslationCaching, vec!["R5"]), (Direct, vec![])] {
        let litmus = block(bbm);
        litmus.make(Level::L2, BLOCK, table(&litmus));
        litmus.breaks(&rules);
        litmus.sees(BLOCK, &[Seen::Page(A, RW), Seen::Conflict]);
        litmus.invalidate([by_ipa(BLOCK)]);
        litmus.sees(BLOCK, &[Seen::Page(A, RW)]);
    }
}

#[test]
fn a_table_becomes_a_block_directly_at_level_2_only() {
    for (bbm, rules) in [(BreakFirst, vec!["R5"]), (NoTranslationCaching, vec!["R5"]), (Direct, vec![])] {
        let litmus = block(bbm);
        litmus.make(Level::L2, BLOCK, Entry::Invalid);
        litmus.invalidate([by_ipa(BLOCK)]);
        litmus.make(Level::L2, BLOCK, table(&litmus));
        litmus.make(Level::L2, BLOCK, leaf(A, RW));
        litmus.breaks(&rules);
        litmus.sees(BLOCK, &[Seen::Page(A, RW), Seen::Conflict]);
        litmus.invalidate([by_ipa(BLOCK)]);
        litmus.sees(BLOCK.add(0x1000), &[Seen::Page(A.add(0x1000), RW), Seen::Conflict]);
        litmus.sim.handed_over(litmus.frame(3));
        assert_eq!(litmus.rules(), rules, "the table itself is gone by one address");
    }
}

#[test]
fn a_break_without_its_invalidation_is_no_break() {
    for (bbm, rules) in [(BreakFirst, vec!["R5"]), (Direct, vec![])] {
        let litmus = block(bbm);
        litmus.make(Level::L2, BLOCK, Entry::Invalid);
        litmus.make(Level::L2, BLOCK, table(&litmus));
        litmus.breaks(&rules);
    }
}

#[test]
fn directly_means_the_same_translation_for_each_address() {
    for (index, entry, rule) in [(9, Entry::Invalid, "R5"), (9, leaf(A.add(9 * P), READ), "R5"), (9, leaf(B, RW), "R5")]
    {
        let litmus = block(Direct);
        litmus.set_at(litmus.frame(3).add(8 * index), Level::L3, entry);
        litmus.make(Level::L2, BLOCK, table(&litmus));
        litmus.breaks(&[rule]);
    }
}

/// After a direct split a page is changed as any page is: what is held of the block is only behind.
#[test]
fn a_page_of_a_split_block_loses_a_right_before_the_invalidation() {
    let litmus = block(Direct);
    litmus.make(Level::L2, BLOCK, table(&litmus));
    litmus.make(Level::L3, BLOCK, leaf(A, READ));
    litmus.make(Level::L3, BLOCK.add(P), Entry::Invalid);
    litmus.breaks(&[]);
    litmus.sees(BLOCK, &[Seen::Page(A, READ), Seen::Page(A, RW), Seen::Conflict]);
    litmus.sees(BLOCK.add(P), &[Seen::Nothing, Seen::Page(A.add(P), RW), Seen::Conflict]);
    litmus.invalidate([by_ipa(BLOCK), by_ipa(BLOCK.add(P))]);
    litmus.sees(BLOCK, &[Seen::Page(A, READ)]);
    litmus.sees(BLOCK.add(P), &[Seen::Nothing]);
}

/// Splits with nT, with or without the invalidation after it was set; merges likewise.
fn by_untranslated(bbm: BbmLevel, is_invalidated: bool, is_merged: bool) -> Litmus {
    let litmus = block(bbm);
    let flush = || {
        if is_invalidated {
            litmus.invalidate([Tlbi::Vmid])
        }
    };
    litmus.make(Level::L2, BLOCK, untranslated(A));
    flush();
    litmus.make(Level::L2, BLOCK, table(&litmus));
    if is_merged {
        litmus.make(Level::L2, BLOCK, untranslated(A));
        flush();
        litmus.make(Level::L2, BLOCK, leaf(A, RW));
    }
    litmus
}

#[test]
fn level_1_changes_a_size_through_a_block_that_is_not_held() {
    for is_merged in [false, true] {
        let litmus = by_untranslated(NoTranslationCaching, true, is_merged);
        litmus.breaks(&[]);
        litmus.sees(BLOCK, &[Seen::Page(A, RW)]);
        assert_eq!(by_untranslated(NoTranslationCaching, false, false).rules(), ["R5"], "what was held before is");
        assert!(by_untranslated(BreakFirst, true, is_merged).rules().contains(&"R5".to_owned()), "no nT there");
        by_untranslated(Direct, false, is_merged).breaks(&[]);
    }
}

#[test]
fn a_block_that_is_not_held_may_fault() {
    let litmus = block(NoTranslationCaching);
    litmus.make(Level::L2, BLOCK, untranslated(A));
    litmus.invalidate([by_ipa(BLOCK)]);
    litmus.sees(BLOCK, &[Seen::Page(A, RW), Seen::Nothing]);
    assert_eq!(litmus.agreed(BLOCK), None, "nT was left");
    let litmus = block(BreakFirst);
    litmus.make(Level::L2, BLOCK, untranslated(A));
    litmus.sees(BLOCK, &[Seen::Page(A, RW)]);
}

#[test]
fn a_block_that_is_not_held_leaves_nothing_and_becomes_no_other() {
    let litmus = block(NoTranslationCaching);
    litmus.make(Level::L2, BLOCK, untranslated(A));
    litmus.invalidate([by_ipa(BLOCK)]);
    litmus.make(Level::L2, BLOCK, Entry::Invalid);
    litmus.sees(BLOCK, &[Seen::Nothing]);
    litmus.make(Level::L2, BLOCK, untranslated(A));
    litmus.breaks(&[]);
    litmus.make(Level::L2, BLOCK, untranslated(B));
    litmus.breaks(&["R1"]);
}

#[test]
fn any_address_of_a_block_names_all_its_pieces_and_a_hint_its_level() {
    let hinted = |level| Tlbi::Ipa { ipa: BLOCK.add(0x1f_f000), level: Some(level), leaf_only: true };
    for (op, is_gone) in [(hinted(Level::L2), true), (hinted(Level::L3), false), (by_ipa(BLOCK.add(0x5000)), true)] {
        let litmus = Litmus::new(Features { level_hint: true, ..plain() });
        litmus.make(Level::L2, BLOCK, leaf(A, RW));
        litmus.make(Level::L2, BLOCK, Entry::Invalid);
        litmus.invalidate([op]);
        assert_eq!(litmus.agreed(BLOCK.add(0x9000)).is_some(), is_gone, "{op:?}");
    }
}

#[test]
fn a_table_is_not_replaced_by_another_at_any_level() {
    for bbm in LEVELS {
        let litmus = block(bbm);
        litmus.page(0, leaf(A, RW));
        litmus.make(Level::L2, BASE, Entry::Table(litmus.frame(4)));
        litmus.breaks(&["R5"]);
    }
}

#[test]
fn a_broken_block_comes_back_as_a_table_with_the_same_rights_only() {
    for (perms, rules) in [(RW, vec![]), (READ, vec!["R5"])] {
        let litmus = block(Direct);
        litmus.fill(litmus.frame(3), Level::L3, A, perms);
        litmus.make(Level::L2, BLOCK, Entry::Invalid);
        litmus.make(Level::L2, BLOCK, table(&litmus));
        litmus.breaks(&rules);
    }
}
