//! What random programs are made of.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::flush::{Barriers, Flush, Form};
use crate::scene::Machine;

/// How many pages of each VM a program is about.
pub(super) const CELLS: u64 = 32;

/// A program.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) machine: Machine,
    /// How many bits addresses of the VMs have, and at which level their roots are.
    pub(super) shape: (u32, u8),
    pub(super) turns: Vec<Turn>,
    /// In which order two CPUs go on that are at work at the same time, bit by bit.
    pub(super) order: Vec<bool>,
}

/// What a CPU does next.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) cpu: usize,
    /// Which of the two VMs.
    pub(super) vm: usize,
    pub(super) work: Work,
    pub(super) flush: Flush,
    /// It is done while the turn before it is under way, where that is another CPU's for another VM.
    pub(super) is_concurrent: bool,
    /// The CPU goes back to the VM that it served before.
    pub(super) goes_back: bool,
}

/// An operation on pages that are counted from the first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Map(Pages, Content),
    /// Sixteen pages as a group with the contiguous hint.
    MapGroup(u64),
    Unmap(Pages),
    /// The frames go back to the allocator.
    Decommit(Pages),
    Remap(Pages),
    Protect(Pages, bool),
    Age(Pages),
    /// What was written to is found out, where walks tell.
    Harvest(Pages),
    /// The guest touches a page.
    Touch(u64),
    /// All pages are unmapped by unlinking their table.
    Drop,
    MapBlock,
    Split,
    Merge,
    UnmapBlock,
    /// The guest runs for a while.
    Run,
    /// The VMs exchange their VMIDs.
    RollOver,
}

/// What pages are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Content {
    Data,
    Code,
    /// Clean at first; walks mark what is written to, where they can.
    Tracked,
}

/// Adjacent pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pages {
    pub(super) first: u64,
    pub(super) count: u64,
}

pub(super) fn plans(turns: usize) -> impl Strategy<Value = Plan> {
    let shapes = select(vec![(39, 1), (40, 1), (48, 0), (44, 0), (36, 1), (34, 2), (42, 1)]);
    (machines(), shapes, vec(self::turns(), 1..=turns), vec(any::<bool>(), 64))
        .prop_map(|(machine, shape, turns, order)| Plan { machine, shape, turns, order })
}

fn machines() -> impl Strategy<Value = Machine> {
    let features = (0..=2u8, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let rest = (2..=3usize, select(vec![0, 1, 2, 2u8]), any::<bool>(), any::<[bool; 3]>());
    (features, rest).prop_map(|((bbm, tlbirange, tlbios, ttl, fwb), (cpus, hafdbs, xnx, [vmid16, idc, dic]))| Machine {
        cpus,
        bbm,
        tlbirange,
        tlbios,
        ttl,
        fwb,
        hafdbs,
        xnx,
        vmid16,
        idc,
        dic,
        ..Machine::TWO
    })
}

fn turns() -> impl Strategy<Value = Turn> {
    let who = (0..2usize, 0..2usize, any::<bool>(), any::<bool>());
    (who, works(), flushes()).prop_map(|((cpu, vm, is_concurrent, goes_back), work, flush)| Turn {
        cpu,
        vm,
        work,
        flush,
        is_concurrent,
        goes_back,
    })
}

fn works() -> impl Strategy<Value = Work> {
    prop_oneof![
        6 => (pages(), contents()).prop_map(|(pages, content)| Work::Map(pages, content)),
        2 => (0..CELLS / 16).prop_map(Work::MapGroup),
        3 => pages().prop_map(Work::Unmap),
        4 => pages().prop_map(Work::Decommit),
        4 => pages().prop_map(Work::Remap),
        4 => (pages(), any::<bool>()).prop_map(|(pages, is_writable)| Work::Protect(pages, is_writable)),
        2 => pages().prop_map(Work::Age),
        3 => pages().prop_map(Work::Harvest),
        2 => (0..CELLS).prop_map(Work::Touch),
        1 => Just(Work::Drop),
        2 => Just(Work::MapBlock),
        2 => Just(Work::Split),
        2 => Just(Work::Merge),
        1 => Just(Work::UnmapBlock),
        2 => Just(Work::Run),
        1 => Just(Work::RollOver),
    ]
}

fn contents() -> impl Strategy<Value = Content> {
    select(vec![Content::Data, Content::Data, Content::Code, Content::Tracked])
}

fn pages() -> impl Strategy<Value = Pages> {
    (0..CELLS, 1..=8u64).prop_map(|(first, count)| Pages { first, count: count.min(CELLS - first) })
}

fn flushes() -> impl Strategy<Value = Flush> {
    let forms = select(vec![Form::Each, Form::Each, Form::Range, Form::Range, Form::Vmid, Form::All]);
    let barriers = select(vec![Barriers::Usual, Barriers::Usual, Barriers::Full, Barriers::Outer, Barriers::System]);
    (forms, barriers, any::<[bool; 4]>()).prop_map(
        |(form, barriers, [is_hinted, is_leaf_form, is_outer, is_deferred])| Flush {
            form,
            barriers,
            is_hinted,
            is_leaf_form,
            is_outer,
            is_deferred,
        },
    )
}
