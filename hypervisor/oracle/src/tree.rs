//! Trees, the registers that shape them, and the VMIDs under which TLBs may hold them.

use vmsa::{Hpa, Ipa, Level};

use crate::Machine;
use crate::cpu::Cpus;

const VTCR_HA: u64 = 1 << 21;
const VTCR_HD: u64 = 1 << 22;
const VTCR_VS: u64 = 1 << 19;
const HCR_VM: u64 = 1;
const HCR_PTW: u64 = 1 << 2;
const HCR_DC: u64 = 1 << 12;
const HCR_RW: u64 = 1 << 31;
const HCR_CD_ID: u64 = 0b11 << 32;
const HCR_FWB: u64 = 1 << 46;
/// What of HCR_EL2 TLBs may keep (R26).
const HCR_KEPT: u64 = HCR_VM | HCR_PTW | HCR_DC | HCR_RW | HCR_CD_ID | HCR_FWB;
/// VTTBR_EL2.BADDR, without CnP.
const BADDR: u64 = 0x0000_ffff_ffff_fffe;

/// VTCR_EL2 and HCR_EL2, as far as translations depend on them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Control {
    pub(crate) vtcr: u64,
    pub(crate) hcr: u64,
}

impl Control {
    pub(crate) const fn new(vtcr: u64, hcr: u64) -> Self {
        Self { vtcr, hcr: hcr & HCR_KEPT }
    }

    pub(crate) const fn sets_access_flag(self) -> bool {
        self.vtcr & VTCR_HA != 0
    }

    /// HD works together with HA only.
    pub(crate) const fn sets_dirty(self) -> bool {
        self.vtcr & (VTCR_HA | VTCR_HD) == VTCR_HA | VTCR_HD
    }

    pub(crate) const fn forces_write_back(self) -> bool {
        self.hcr & HCR_FWB != 0
    }

    /// Returns the width of an output address, from VTCR_EL2.PS.
    pub(crate) const fn output_bits(self) -> u32 {
        match self.vtcr >> 16 & 7 {
            0 => 32,
            1 => 36,
            2 => 40,
            3 => 42,
            4 => 44,
            5 => 48,
            _ => 52,
        }
    }

    /// Returns the width of an input address.
    pub(crate) const fn input_bits(self) -> u32 {
        64 - (self.vtcr & 0x3f) as u32
    }

    /// Returns the level at which walks start, or `None` for an encoding that the 4 KiB granule does not have.
    pub(crate) const fn start(self) -> Option<Level> {
        match self.vtcr >> 6 & 3 {
            0 => Some(Level::L2),
            1 => Some(Level::L1),
            2 => Some(Level::L0),
            _ => None,
        }
    }

    /// Returns how many tables the root has, or `None` where T0SZ and SL0 do not fit (R45).
    pub(crate) const fn root_tables(self) -> Option<u64> {
        let Some(start) = self.start() else { return None };
        let (bits, shift) = (self.input_bits(), start.shift());
        match bits {
            _ if bits <= shift || bits > shift + 13 || bits > 48 => None,
            _ if bits <= shift + 9 => Some(1),
            _ => Some(1 << (bits - shift - 9)),
        }
    }

    /// Returns whether VMIDs have 16 bits.
    pub(crate) const fn has_wide_vmids(self) -> bool {
        self.vtcr & VTCR_VS != 0
    }
}

/// Returns the VMID in a value of VTTBR_EL2. Where VMIDs have 8 bits the others are zero (R27a).
pub(crate) const fn vmid_of(vttbr: u64) -> u16 {
    (vttbr >> 48) as u16
}

/// Returns the root's address in a value of VTTBR_EL2.
pub(crate) const fn root_of(vttbr: u64) -> Hpa {
    Hpa(vttbr & BADDR)
}

/// How many trees there is room for, and how many pairs of a VMID and a tree.
pub(crate) const MOST_TREES: usize = 64;

/// A tree of tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    pub(crate) root: Hpa,
    pub(crate) control: Control,
    /// The VMID that it has.
    pub(crate) vmid: Option<u16>,
    /// The VM whose memory it is, once that is known.
    pub(crate) vm: Option<u32>,
    /// How much of FEAT_BBM it may use.
    pub(crate) bbm: u8,
    /// How many entries of the root are valid.
    pub(crate) live: u32,
    /// The last write: its CPU, and when.
    pub(crate) written: Option<(usize, u64)>,
    /// The lock that guards it, where one was named.
    pub(crate) lock: Option<u64>,
    /// Its root was taken into account.
    pub(crate) is_adopted: bool,
    /// Its root was given back; TLBs may hold what it led to.
    pub(crate) is_gone: bool,
}

impl Tree {
    pub(crate) fn start(&self) -> Level {
        self.control.start().unwrap_or(Level::L1)
    }

    pub(crate) fn root_tables(&self) -> u64 {
        self.control.root_tables().unwrap_or(1)
    }

    /// Returns the slot in the root that an address begins at, or `None` beyond the tree.
    pub(crate) fn root_slot(&self, ipa: Ipa) -> Option<Hpa> {
        let index = ipa.0 >> self.start().shift();
        (index < self.root_tables() * 512).then(|| self.root.add(8 * index))
    }
}

/// A VMID, and a tree that TLBs may hold under it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) vmid: u16,
    pub(crate) tree: u8,
    /// How translation was controlled when they were filled.
    pub(crate) control: Control,
    /// Whose VTTBR_EL2 says so.
    pub(crate) loaded: Cpus,
    /// Whose TLBs may hold entries.
    pub(crate) holders: Cpus,
    /// They may hold what the tree does not say any more, and it is not known what.
    pub(crate) is_spoiled: bool,
}

impl Context {
    /// Tells whether a CPU uses it, or has entries of it.
    const fn is_held(&self) -> bool {
        self.loaded != 0 || self.holders != 0
    }
}

/// All trees, and all contexts.
#[derive(Debug)]
pub(crate) struct Trees {
    trees: [Option<Tree>; MOST_TREES],
    /// Their places are taken from the first on, and never given back.
    contexts: [Option<Context>; MOST_TREES],
    /// By VMID: TLBs may hold something of it, and it is not known what.
    spoiled: [u64; 1 << 10],
}

impl Trees {
    pub(crate) const fn new() -> Self {
        Self { trees: [None; MOST_TREES], contexts: [None; MOST_TREES], spoiled: [0; 1 << 10] }
    }

    pub(crate) fn get(&self, tree: u8) -> Option<&Tree> {
        self.trees.get(usize::from(tree))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, tree: u8) -> Option<&mut Tree> {
        self.trees.get_mut(usize::from(tree))?.as_mut()
    }

    pub(crate) fn at(&self, root: Hpa) -> Option<u8> {
        let is_there = |tree: &Option<Tree>| tree.is_some_and(|tree| tree.root == root && !tree.is_gone);
        self.trees.iter().position(is_there).map(|index| index as u8)
    }

    pub(crate) fn of_vm(&self, vm: u32) -> Option<u8> {
        let is_its = |tree: &Option<Tree>| tree.is_some_and(|tree| tree.vm == Some(vm));
        self.trees.iter().position(is_its).map(|index| index as u8)
    }

    /// Makes a tree, or returns `None` where there is no room. One that is gone, and that no TLB holds any more, makes room.
    pub(crate) fn make(&mut self, tree: Tree) -> Option<u8> {
        let is_held = |index: usize| self.of_tree(index as u8).any(Context::is_held);
        let is_free = |index: usize| self.trees[index].is_none_or(|tree| tree.is_gone && !is_held(index));
        let index = (0..MOST_TREES).find(|index| is_free(*index))?;
        self.trees[index] = Some(tree);
        Some(index as u8)
    }

    /// A tree has the VMID from now on, and no other tree has it.
    pub(crate) fn give_vmid(&mut self, tree: u8, vmid: u16) {
        for other in self.trees.iter_mut().flatten().filter(|other| other.vmid == Some(vmid)) {
            other.vmid = None;
        }
        if let Some(tree) = self.get_mut(tree) {
            tree.vmid = Some(vmid);
        }
    }

    /// The root of a tree was given back.
    pub(crate) fn forget_root(&mut self, tree: u8) {
        if let Some(tree) = self.get_mut(tree) {
            (tree.is_gone, tree.vm) = (true, None);
        }
    }

    /// Tells whether what TLBs hold of a tree under the VMID can be used: a CPU has the VMID loaded, or it is the tree's and may
    /// be loaded at any time. What is held under a VMID that was taken from its tree waits for whoever gets it next.
    pub(crate) fn is_usable(&self, vmid: u16, tree: u8) -> bool {
        self.get(tree).is_some_and(|tree| tree.vmid == Some(vmid) && !tree.is_gone)
            || self.contexts().any(|context| context.vmid == vmid && context.loaded != 0)
    }

    pub(crate) fn contexts(&self) -> impl Iterator<Item = &Context> {
        self.contexts.iter().map_while(Option::as_ref)
    }

    pub(crate) fn contexts_mut(&mut self) -> impl Iterator<Item = &mut Context> {
        self.contexts.iter_mut().map_while(Option::as_mut)
    }

    pub(crate) fn of_tree(&self, tree: u8) -> impl Iterator<Item = &Context> {
        self.contexts().filter(move |context| context.tree == tree)
    }

    /// Returns the context of a VMID and a tree, made if there is none; `None` where there is no room. One that nobody holds any
    /// more makes room, or one whose VMID is no tree's: of that VMID it is then only known that TLBs hold something.
    pub(crate) fn context(&mut self, vmid: u16, tree: u8, control: Control) -> Option<&mut Context> {
        let is_it = |context: &Context| context.vmid == vmid && context.tree == tree;
        let is_free = |context: &Option<Context>| context.is_none_or(|context| !context.is_held());
        let known = self.contexts.iter().position(|context| context.as_ref().is_some_and(is_it));
        let place = known.or_else(|| self.contexts.iter().position(is_free)).or_else(|| self.idle_context())?;
        if known.is_none() {
            if let Some(idle) = self.contexts[place].filter(|idle| idle.holders != 0) {
                self.spoiled[usize::from(idle.vmid) / 64] |= 1 << (idle.vmid % 64);
            }
            self.contexts[place] = Some(Context { vmid, tree, control, loaded: 0, holders: 0, is_spoiled: false });
        }
        self.contexts[place].as_mut()
    }

    fn idle_context(&self) -> Option<usize> {
        let is_idle = |context: &Option<Context>| context.is_some_and(|it| !self.is_usable(it.vmid, it.tree));
        self.contexts.iter().position(is_idle)
    }

    /// Tells whether TLBs may hold what is not known any more of a VMID.
    pub(crate) const fn is_spoiled(&self, vmid: u16) -> bool {
        self.spoiled[vmid as usize / 64] & 1 << (vmid % 64) != 0
    }

    /// Every TLB has dropped all of a VMID, or of all.
    pub(crate) fn unspoil(&mut self, vmid: Option<u16>) {
        match vmid {
            Some(vmid) => self.spoiled[usize::from(vmid) / 64] &= !(1 << (vmid % 64)),
            None => self.spoiled = [0; 1 << 10],
        }
    }
}

/// Returns what is wrong with VTCR_EL2 (R45), if anything is.
pub(crate) fn vtcr_flaw(control: Control, machine: &Machine) -> Option<&'static str> {
    let (bits, start) = (control.input_bits(), control.start());
    match () {
        () if control.vtcr & 1 << 31 == 0 => Some("bit 31 is RES1"),
        () if control.vtcr >> 14 & 3 != 0 => Some("TG0 is not 0: the granule is not 4 KiB"),
        () if control.root_tables().is_none() => Some("T0SZ and SL0 do not fit each other"),
        () if bits > machine.pa_bits => Some("addresses are wider than the machine's (PARange)"),
        () if start == Some(Level::L0) && machine.pa_bits < 44 => {
            Some("no walk starts at level 0 below 44 bits of PARange")
        }
        () if control.output_bits() > machine.pa_bits => Some("PS is more than PARange"),
        () => None,
    }
}

/// Tells whether walks read tables as EL2 writes them: write-back, and shareable where there are several CPUs (R38).
pub(crate) const fn walks_are_coherent(control: Control, cpus: u32) -> bool {
    let (inner, outer, share) = (control.vtcr >> 8 & 3, control.vtcr >> 10 & 3, control.vtcr >> 12 & 3);
    inner & 1 != 0 && outer & 1 != 0 && (share & 2 != 0 || cpus == 1)
}
