//! A tree on a simulated machine, and the map that says what it should show.

use std::collections::BTreeMap;

use stage2::{Mmu, OutOfTables, Run, Stage2, Stats, Tables, Touched};
use tests::{Sim, SimTables};
use vmsa::{Attributes, Features, Geometry, Hpa, Ipa, IpaRange, PAGE_SIZE, Perms, Vmid};

pub(crate) const READ: Perms = Perms::READ;
pub(crate) const READ_WRITE: Perms = Perms::READ.union(Perms::WRITE);

/// Where the frames that are mapped lie: nobody looks into them.
pub(crate) const FRAMES: Hpa = Hpa(0x10_0000_0000);

pub(crate) fn plain(ipa_bits: u32) -> (Features, u32) {
    (Features { pa_bits: 48, ..Features::default() }, ipa_bits)
}

pub(crate) fn ranged(ipa_bits: u32) -> (Features, u32) {
    (Features { tlbi_range: true, level_hint: true, forced_write_back: true, vmid16: true, ..plain(0).0 }, ipa_bits)
}

pub(crate) fn machine(features: Features) -> Sim {
    Sim::new(features, 16 << 20)
}

pub(crate) fn pages(ipa: u64, count: u64) -> IpaRange {
    IpaRange::new(Ipa(ipa), count * PAGE_SIZE)
}

pub(crate) struct Bench<'s> {
    pub(crate) sim: &'s Sim,
    pub(crate) tree: Stage2,
    pub(crate) tables: SimTables<'s>,
    pub(crate) model: BTreeMap<Ipa, (Hpa, Perms)>,
}

impl<'s> Bench<'s> {
    pub(crate) fn new(sim: &'s Sim, ipa_bits: u32) -> Self {
        let geometry = Geometry::new(ipa_bits, sim.features()).expect("a width that the machine has");
        let root = sim.memory().range().start;
        let mut tree = Stage2::new(geometry, sim.features(), root);
        tree.set_vmid(sim, Some(Vmid(1)));
        let tables = SimTables::new(sim, root.add(geometry.root_bytes()));
        Self { sim, tree, tables, model: BTreeMap::new() }
    }

    /// Maps each page of the range that is not mapped to a frame of its own, which its address tells.
    pub(crate) fn map(&mut self, range: IpaRange, perms: Perms) -> Result<(), OutOfTables> {
        self.map_on(self.sim, range, perms)
    }

    pub(crate) fn map_on(&mut self, mmu: &impl Mmu, range: IpaRange, perms: Perms) -> Result<(), OutOfTables> {
        let source = |ipa| Some(Run { output: frame_of(ipa), len: PAGE_SIZE, attributes: Attributes::normal(perms) });
        let result = self.tree.map(mmu, &mut self.tables, range, source).map(drop);
        if result.is_ok() {
            for ipa in pages_of(range) {
                self.model.entry(ipa).or_insert((frame_of(ipa), perms));
            }
        }
        result
    }

    /// Maps the range to memory that is adjacent where its addresses are.
    pub(crate) fn map_adjacent(&mut self, range: IpaRange, perms: Perms) -> Result<(), OutOfTables> {
        let source = |ipa: Ipa| {
            let len = range.end.0 - ipa.0;
            Some(Run { output: adjacent_frame_of(ipa), len, attributes: Attributes::normal(perms) })
        };
        let result = self.tree.map(self.sim, &mut self.tables, range, source).map(drop);
        if result.is_ok() {
            for ipa in pages_of(range) {
                self.model.entry(ipa).or_insert((adjacent_frame_of(ipa), perms));
            }
        }
        result
    }

    pub(crate) fn map_page(&mut self, ipa: Ipa, frame: Hpa, perms: Perms) {
        self.map_page_on(self.sim, ipa, frame, perms);
    }

    pub(crate) fn map_page_on(&mut self, mmu: &impl Mmu, ipa: Ipa, frame: Hpa, perms: Perms) {
        let page = (frame, Attributes::normal(perms));
        let _ = self.tree.map_page(mmu, &mut self.tables, ipa, page).expect("tables enough");
        self.model.insert(ipa, (frame, perms));
    }

    /// Serves an access as a fault does, with a page at hand in case that there is none.
    pub(crate) fn touch_or_map(&mut self, ipa: Ipa, perms: Perms, frame: Hpa) -> Touched {
        let page = (frame, Attributes::normal(perms));
        let touched = self.tree.touch_or_map(self.sim, &mut self.tables, ipa, perms, page);
        if touched == Touched::Mapped {
            self.model.insert(ipa, (frame, perms));
        }
        touched
    }

    pub(crate) fn unmap(&mut self, range: IpaRange) {
        self.unmap_on(self.sim, range);
    }

    pub(crate) fn unmap_on(&mut self, mmu: &impl Mmu, range: IpaRange) {
        let _ = self.tree.unmap(mmu, &mut self.tables, [range]).expect("tables enough");
        self.model.retain(|ipa, _| !(range.start..range.end).contains(ipa));
    }

    pub(crate) fn protect(&mut self, range: IpaRange, perms: Perms) {
        self.protect_on(self.sim, range, perms);
    }

    pub(crate) fn protect_on(&mut self, mmu: &impl Mmu, range: IpaRange, perms: Perms) {
        let _ = self.tree.protect(mmu, &mut self.tables, range, perms).expect("tables enough");
        for (_, page) in self.model.range_mut(range.start..range.end) {
            page.1 = perms;
        }
    }

    /// Returns what is wrong with the pages of the range: what a CPU may see is not what the map says, or the software walk
    /// says something else.
    pub(crate) fn faults_in(&self, range: IpaRange) -> Vec<String> {
        let mut faults = self.sim.violations();
        for ipa in pages_of(range) {
            let expected = self.model.get(&ipa).copied();
            let agreed = self.sim.agreed(self.tree.vttbr(), self.tree.geometry(), ipa);
            let walked = self.tree.walk(self.sim, ipa).and_then(|walk| walk.page(ipa)).map(|(f, a)| (f, a.perms));
            if agreed != Some(expected) || walked != expected {
                faults.push(format!("{ipa}: expected {expected:?}, CPUs see {agreed:?}, the walk says {walked:?}"));
            }
        }
        faults
    }

    pub(crate) fn assert_right(&self, range: IpaRange) {
        assert_eq!(self.faults_in(range), Vec::<String>::new());
    }

    /// Returns what `work` costs.
    pub(crate) fn cost(&mut self, work: impl FnOnce(&mut Self)) -> Stats {
        let before = self.tree.stats();
        work(self);
        let after = self.tree.stats();
        Stats {
            stores: after.stores - before.stores,
            tlbi_ipa: after.tlbi_ipa - before.tlbi_ipa,
            tlbi_range: after.tlbi_range - before.tlbi_range,
            tlbi_vmid: after.tlbi_vmid - before.tlbi_vmid,
            tlbi_stage1: after.tlbi_stage1 - before.tlbi_stage1,
            dsb: after.dsb - before.dsb,
            isb: after.isb - before.isb,
            tables: after.tables,
            splits: after.splits - before.splits,
            merges: after.merges - before.merges,
        }
    }
}

/// Returns a frame that is next to no other page's.
pub(crate) fn frame_of(ipa: Ipa) -> Hpa {
    FRAMES.add(1 << 38).add(2 * (ipa.0 & 0xf_ffff_ffff))
}

/// Returns the frame that is next to the frame of the next page.
pub(crate) fn adjacent_frame_of(ipa: Ipa) -> Hpa {
    FRAMES.add(ipa.0 & 0xf_ffff_ffff)
}

pub(crate) fn pages_of(range: IpaRange) -> impl Iterator<Item = Ipa> {
    (0..range.pages()).map(move |number| range.start.page_base().add(number * PAGE_SIZE))
}

/// Tells whether the table is linked somewhere, by the count of its live entries.
pub(crate) fn live(tables: &SimTables<'_>, table: Hpa) -> u16 {
    tables.live_entries(table)
}
