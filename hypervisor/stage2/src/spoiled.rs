//! What planted bugs make of an operation's steps. Without them everything is passed on as it came.

use vmsa::{Attributes, Codec, Dirty, Dsb, Ipa, IpaRange, Leaf, Level, MemoryType, PAGE_SIZE, Perms, Scope, Tlbi};

use crate::change::Slot;

/// Returns an invalidation as it is issued, and how far, or `None` where it is not.
pub(crate) fn issued(op: Tlbi) -> Option<(Tlbi, Scope)> {
    let is_by_ipa = matches!(op, Tlbi::Ipa { .. } | Tlbi::Range { .. });
    let is_dropped = planted::is(1) || planted::is(2) && op == Tlbi::Stage1 || planted::is(111) && is_by_ipa;
    let is_local = planted::is(10) && op != Tlbi::Vmid || planted::is(11) && op == Tlbi::Vmid;
    let op = match op {
        Tlbi::Ipa { ipa, level, .. } if planted::is(26) => Tlbi::Ipa { ipa, level, leaf_only: true },
        Tlbi::Range { operand, level, .. } if planted::is(26) => Tlbi::Range { operand, level, leaf_only: true },
        op => op,
    };
    (!is_dropped).then_some((op, if is_local { Scope::Local } else { Scope::Broadcast }))
}

/// Returns the barrier that makes stores visible before an invalidation.
pub(crate) fn visibility() -> Option<Dsb> {
    let kind = if planted::is(116) { Dsb::Nshst } else { Dsb::Ishst };
    (!planted::is(5)).then_some(kind)
}

/// Returns the barrier that an invalidation is waited for with.
pub(crate) fn completion() -> Dsb {
    match () {
        () if planted::is(6) => Dsb::Ishst,
        () if planted::is(7) => Dsb::Nsh,
        () => Dsb::Ish,
    }
}

/// Returns the range that is invalidated of what was broken.
pub(crate) fn range(broken: IpaRange) -> IpaRange {
    let late = if planted::is(114) { PAGE_SIZE } else { 0 };
    let early = if planted::is(17) { PAGE_SIZE } else { 0 };
    IpaRange { start: broken.start.add(late), end: Ipa(broken.end.0 - early) }
}

/// Returns the level that an invalidation hints at.
pub(crate) fn hint(level: Level) -> Level {
    if planted::is(24) { Level::L3 } else { level }
}

/// Returns what VTTBR_EL2 gets back after an invalidation for another VM.
pub(crate) fn restored(before: u64, own: u64) -> u64 {
    if planted::is(15) { own } else { before }
}

/// Tells whether a member of a group goes without its invalidation.
pub(crate) fn is_forgotten_member(slot: Slot, leaf: Leaf) -> bool {
    planted::is(55) && leaf.attributes.contiguous && slot.span().start != slot.group().start
}

/// Tells whether leaves go one by one that could go together.
pub(crate) fn is_one_by_one() -> bool {
    planted::is(9) || planted::is(55)
}

/// Returns the bits in which leaves agree that become one.
pub(crate) fn merged() -> u64 {
    if planted::is(119) { Codec::KIND | Codec::output_bits(Level::LEAF) } else { u64::MAX }
}

/// Tells whether a leaf gets this memory type without a break.
pub(crate) fn is_retyped_in_place(memory: MemoryType) -> bool {
    planted::is(37) && memory == MemoryType::Device || planted::is(122) && memory == MemoryType::NonCacheable
}

/// Returns the permissions whose loss is invalidated.
pub(crate) fn guarded(perms: Perms) -> Perms {
    match () {
        () if planted::is(70) => perms - Perms::WRITE,
        () if planted::is(71) => perms - Perms::EXECUTE,
        () => perms,
    }
}

/// Returns the level of the entries that a block becomes.
pub(crate) fn split_level(below: Level) -> Level {
    if planted::is(44) { Level::L3 } else { below }
}

/// Returns what the parts of a block say that becomes a table.
pub(crate) fn inherited(block: Attributes) -> Attributes {
    match () {
        () if planted::is(42) => Attributes { perms: block.perms - Perms::WRITE, ..block },
        () if planted::is(131) => Attributes { accessed: false, ..block },
        () if planted::is(132) && block.dirty == Dirty::Dirty => Attributes { dirty: Dirty::Clean, ..block },
        () if planted::is(133) => Attributes { perms: block.perms | Perms::EXECUTE, ..block },
        () if planted::is(134) => Attributes { shared: false, ..block },
        () => block,
    }
}
