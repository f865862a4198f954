//! VTTBR_EL2 of every CPU, the trees that it may name, and what is left of those that it named before.

use std::collections::HashMap;

use vmsa::{Dsb, Geometry, Hpa, Scope, Tlbi, Vmid};

use crate::fact::{Holds, MOST_CPUS, completed, reached};

/// What a value of VTTBR_EL2 says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Context {
    pub(crate) vmid: Vmid,
    pub(crate) root: Hpa,
}

impl Context {
    pub(crate) const fn of(vttbr: u64) -> Self {
        Self { vmid: Vmid((vttbr >> 48) as u16), root: Hpa(vttbr & 0x0000_ffff_ffff_f000) }
    }
}

/// A tree that was announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root {
    pub(crate) vmid: Vmid,
    pub(crate) geometry: Geometry,
    /// Which of the tree's VMIDs this is, and of the trees that this frame was the root of.
    number: u64,
    /// Its VMID was taken from it: every TLB was emptied while no CPU had it in use.
    is_idle: bool,
}

/// A tree that was in effect: until all of its VMID is invalidated, TLBs may hold any part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) context: Context,
    pub(crate) geometry: Option<Geometry>,
    number: u64,
    holds: Holds,
}

/// The system registers, and what TLBs may hold by them.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    written: [u64; MOST_CPUS],
    effective: [u64; MOST_CPUS],
    roots: HashMap<Hpa, Root>,
    left: Vec<Left>,
    number: u64,
    /// The CPUs that have issued a broadcast invalidation of everything, which is not complete.
    emptying: u8,
}

impl Contexts {
    pub(crate) const fn written(&self, cpu: usize) -> u64 {
        self.written[cpu]
    }

    pub(crate) const fn write(&mut self, cpu: usize, vttbr: u64) {
        self.written[cpu] = vttbr;
    }

    /// Returns the VMID that an invalidation is for, if that is certain: no other has been written since.
    pub(crate) fn vmid(&self, cpu: usize) -> Option<Vmid> {
        let [written, effective] = [self.written[cpu], self.effective[cpu]].map(|vttbr| Context::of(vttbr).vmid);
        (written == effective).then_some(effective)
    }

    /// Returns a tree, and whether it is new.
    pub(crate) fn announce(&mut self, vttbr: u64, geometry: Geometry) -> (Context, bool) {
        let context = Context::of(vttbr);
        let before = self.roots.get(&context.root).copied();
        if before.is_none_or(|root| root.vmid != context.vmid) {
            self.number += 1;
        }
        for root in self.roots.values_mut().filter(|root| root.vmid == context.vmid) {
            root.is_idle = true;
        }
        let number = before.filter(|root| root.vmid == context.vmid).map_or(self.number, |root| root.number);
        self.roots.insert(context.root, Root { vmid: context.vmid, geometry, number, is_idle: false });
        (context, before.is_none())
    }

    /// Forgets a tree whose root goes back.
    pub(crate) fn forget(&mut self, root: Hpa) {
        self.roots.remove(&root);
    }

    /// Returns the VMID under which TLBs may hold what the tree says.
    pub(crate) fn vmid_of(&self, root: Hpa) -> Option<Vmid> {
        self.roots.get(&root).filter(|root| !root.is_idle).map(|root| root.vmid)
    }

    /// Tells whether a CPU may walk the tree: it is in effect, or something is left of when it was.
    pub(crate) fn may_be_walked(&self, root: Hpa) -> bool {
        let in_use = self.written.iter().chain(&self.effective).map(|vttbr| Context::of(*vttbr).root);
        in_use.chain(self.left.iter().map(|left| left.context.root)).any(|other| other == root)
    }

    /// Puts in effect what was written. Returns it, if it is another tree than before.
    pub(crate) fn synchronize(&mut self, cpu: usize) -> Option<Context> {
        let (before, now) = (self.effective[cpu], self.written[cpu]);
        if before == now {
            return None;
        }
        self.effective[cpu] = now;
        self.leave(cpu, Context::of(before));
        let context = Context::of(now);
        if let Some(root) = self.roots.get_mut(&context.root).filter(|root| root.vmid == context.vmid) {
            root.is_idle = false;
        }
        Some(context)
    }

    /// The CPU goes on to something else than the tree, and keeps what it holds of it.
    fn leave(&mut self, cpu: usize, context: Context) {
        let (geometry, number) = self.identity(context);
        let same = |left: &&mut Left| left.context == context && left.number == number;
        if let Some(left) = self.left.iter_mut().find(same) {
            left.holds.renew(1 << cpu);
        } else if context.vmid != Vmid(0) {
            self.left.push(Left { context, geometry, number, holds: Holds::seen(1 << cpu) });
        }
    }

    fn identity(&self, context: Context) -> (Option<Geometry>, u64) {
        match self.roots.get(&context.root) {
            Some(root) if root.vmid == context.vmid => (Some(root.geometry), root.number),
            _ => (None, 0),
        }
    }

    /// Returns another tree of the same VMID that some CPU has in effect, or may hold parts of.
    pub(crate) fn rival(&self, context: Context) -> Option<Context> {
        let number = self.identity(context).1;
        let is_rival = |left: &&Left| {
            left.context.vmid == context.vmid && (left.context.root, left.number) != (context.root, number)
        };
        let in_effect = self.effective.iter().map(|vttbr| Context::of(*vttbr));
        let left = self.left.iter().find(is_rival).map(|left| left.context);
        left.or_else(|| in_effect.into_iter().find(|other| other.vmid == context.vmid && other.root != context.root))
    }

    /// Returns the other trees of the VMID that the CPU may hold parts of, whose shape is known.
    pub(crate) fn others(&self, cpu: usize, context: Context) -> impl Iterator<Item = (Hpa, Geometry)> {
        let left = self.left.iter().filter(move |left| left.context.vmid == context.vmid && left.holds.is_on(cpu));
        let left = left.filter_map(|left| Some((left.context.root, left.geometry?)));
        let now = Context::of(self.effective[cpu]);
        let now = Some((now.root, self.identity(now).0)).filter(|_| now.vmid == context.vmid);
        let now = now.and_then(|(root, geometry)| Some((root, geometry?)));
        left.chain(now).filter(move |(root, _)| *root != context.root)
    }

    pub(crate) fn tlbi(&mut self, issuer: usize, vmid: Option<Vmid>, op: Tlbi, scope: Scope) {
        if (op, scope) == (Tlbi::All, Scope::Broadcast) {
            self.emptying |= 1 << issuer;
        }
        let is_meant = |left: &&mut Left| op == Tlbi::All || op == Tlbi::Vmid && vmid == Some(left.context.vmid);
        for left in self.left.iter_mut().filter(is_meant) {
            left.holds.forget_all(issuer, reached(scope, issuer));
        }
    }

    pub(crate) fn dsb(&mut self, issuer: usize, kind: Dsb) {
        for left in &mut self.left {
            left.holds.complete(issuer, completed(kind, issuer));
        }
        self.left.retain(|left| left.holds.cpus() != 0);
        if kind == Dsb::Ish && self.emptying & 1 << issuer != 0 {
            self.emptying &= !(1 << issuer);
            self.idle_all();
        }
    }

    /// Every TLB is empty: a tree that no CPU has in use can be used again only by an announcement, or by VTTBR_EL2.
    fn idle_all(&mut self) {
        let in_use: Vec<Context> =
            self.written.iter().chain(&self.effective).map(|vttbr| Context::of(*vttbr)).collect();
        for (address, root) in &mut self.roots {
            root.is_idle |= !in_use.contains(&Context { vmid: root.vmid, root: *address });
        }
    }
}
