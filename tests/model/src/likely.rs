//! Arguments that a call may well succeed with, as the model has things now.

use abi::{Call, ChildOptions, RAM_BASE, Rights, Topic, VmarOp, VmoOp};

use crate::generate::{FIELD, FIELD_PAGES};
use crate::handles::Object;
use crate::program::{Argument, Base};
use crate::{Generator, HandleKind, P};

impl Generator<'_> {
    /// Returns arguments that may well be right.
    pub(crate) fn likely(&mut self, call: Call) -> Vec<Argument> {
        let vmar = |this: &mut Self| this.handle(HandleKind::Vmar);
        let vmo = |this: &mut Self| this.handle(HandleKind::Vmo);
        match call {
            Call::StartupHandle => vec![if self.world.is_inside { 3 } else { 1 + self.random.below(4) }.into()],
            Call::HandleClose => vec![self.any_handle()],
            Call::HandleDuplicate | Call::HandleReplace => vec![self.any_handle(), self.rights().into()],
            Call::VmoReplaceAsExecutable => vec![vmo(self), 0.into()],
            Call::ObjectGetInfo => self.info(),
            Call::ObjectGetProperty => vec![vmo(self), 3.into(), self.place(1), 32.into()],
            Call::ObjectSetProperty => vec![vmo(self), 3.into(), self.place(1), self.random.below(40).into()],
            Call::ObjectWaitOne => vec![vmo(self), 8.into(), 0.into()],
            Call::VmarAllocate => self.allocate(),
            Call::VmarMap => self.map(),
            Call::VmarUnmap => {
                let (vmar, at, len) = self.range();
                vec![vmar, at, len]
            }
            Call::VmarProtect => {
                let (vmar, at, len) = self.range();
                vec![vmar, self.perms().into(), at, len]
            }
            Call::VmarDestroy => vec![vmar(self)],
            Call::VmarOpRange => {
                let (vmar, at, len) = self.range();
                let ops = [VmarOp::Commit, VmarOp::Decommit, VmarOp::MapRange, VmarOp::Zero, VmarOp::Prefetch];
                let hints = [VmarOp::DontNeed, VmarOp::AlwaysNeed];
                let ops = if self.random.once_in(8) { &hints[..] } else { &ops[..] };
                let op = self.random.pick(ops);
                vec![vmar, u64::from(u32::from(*op.expect("there are some"))).into(), at, len]
            }
            Call::VmoCreate => {
                let options = *self.random.pick(&[0, 0, 0, 2, 2, 2, 4, 16]).expect("there are some");
                vec![self.len().into(), options.into()]
            }
            Call::VmoCreateChild => self.child(),
            Call::VmoRead | Call::VmoWrite => {
                let vmo = vmo(self);
                let (offset, len) = (self.offset(vmo), self.bytes());
                vec![vmo, self.place(1), offset.into(), len.into()]
            }
            Call::VmoGetSize => vec![vmo(self)],
            Call::VmoSetSize => vec![vmo(self), self.len().into()],
            Call::VmoOpRange => self.vmo_op(),
            Call::VmoCreateContiguous => {
                vec![self.len().into(), (*self.random.pick(&[0, 0, 12, 14, 16, 21]).expect("some")).into()]
            }
            Call::VmoSetCachePolicy => vec![vmo(self), self.random.below(4).into()],
            Call::VmoCreatePhysical => {
                let (base, span) = self.model.config().mmio.unwrap_or((0x900_0000, P));
                let pages = self.random.below(span / P + 1);
                vec![self.handle(HandleKind::Resource), base.into(), (pages * P).into()]
            }
            Call::BtiCreate => vec![self.handle(HandleKind::Resource)],
            Call::BtiPin => {
                let vmo = vmo(self);
                let (offset, pages) = (self.offset(vmo) / P * P, 1 + self.random.below(4));
                let options = *self.random.pick(&[1, 2, 3, 3, 7, 0x13, 0xb]).expect("there are some");
                let count = if options & 0x10 != 0 { 1 } else { pages };
                let buffer = self.place(8);
                vec![
                    self.handle(HandleKind::Bti),
                    options.into(),
                    vmo,
                    offset.into(),
                    (pages * P).into(),
                    buffer,
                    count.into(),
                ]
            }
            Call::PmtUnpin => vec![self.handle(HandleKind::Pmt)],
            _ => Vec::new(),
        }
    }

    fn info(&mut self) -> Vec<Argument> {
        let topics = [
            (Topic::HandleBasic, HandleKind::Vmo, 32),
            (Topic::HandleCount, HandleKind::Vmo, 4),
            (Topic::Vmar, HandleKind::Vmar, 16),
            (Topic::VmarMaps, HandleKind::Vmar, 152 * self.random.below(20)),
            (Topic::VmoV1, HandleKind::Vmo, 104),
            (Topic::VmoV2, HandleKind::Vmo, 120),
            (Topic::VmoV3, HandleKind::Vmo, 128),
            (Topic::Vmo, HandleKind::Vmo, 176),
            (Topic::Vmo, HandleKind::Vmo, 200),
        ];
        let (topic, kind, size) = *self.random.pick(&topics).expect("there are some");
        let is_any = matches!(topic, Topic::HandleBasic | Topic::HandleCount);
        let handle = if is_any { self.any_handle() } else { self.handle(kind) };
        vec![handle, u64::from(u32::from(topic)).into(), self.place(8), size.into()]
    }

    fn allocate(&mut self) -> Vec<Argument> {
        let vmar = self.handle(HandleKind::Vmar);
        let can_map = *self.random.pick(&[0x380, 0x380, 0x380, 0x180, 0x80]).expect("there are some");
        let more = *self.random.pick(&[0x40, 0x40, 0x40, 0x48, 0]).expect("there are some");
        let (how, offset) = self.where_in(vmar);
        vec![vmar, (can_map | more | how).into(), offset.into(), (self.pages() * P).into()]
    }

    fn map(&mut self) -> Vec<Argument> {
        let (vmar, vmo) = (self.handle(HandleKind::Vmar), self.handle(HandleKind::Vmo));
        let (mut how, offset) = self.where_in(vmar);
        if how & 0x10 != 0 && self.random.once_in(4) {
            how = how & !0x10 | 0x20;
        }
        let more = *self.random.pick(&[0, 0, 0, 0x400, 0x800, 0x1000, 0x1000, 0x1000]).expect("there are some");
        let vmo_offset = if self.random.once_in(2) { 0 } else { self.offset(vmo) / P * P };
        let perms = self.perms();
        vec![vmar, (how | more | perms).into(), offset.into(), vmo, vmo_offset.into(), (self.pages() * P).into()]
    }

    /// Returns how a region is placed, and the offset in the VMAR.
    fn where_in(&mut self, vmar: Argument) -> (u64, u64) {
        let handle = self.given.value(vmar);
        let (base, size) = self.model.regions_below(handle).first().map_or((0, 1 << 39), |own| (own.base, own.size));
        let first = if base == 0 { FIELD } else { 0 };
        let spread = FIELD_PAGES.min(size / P).max(1);
        let offset = first + self.random.below(spread) * P;
        match self.random.below(16) {
            0 | 1 if !self.world.is_inside || self.random.once_in(2) => (0, 0),
            2 => (0x2000, offset),
            3 => (0x10 | self.random.below(24) << 24, offset),
            _ => (0x10, offset),
        }
    }

    fn child(&mut self) -> Vec<Argument> {
        let vmo = self.handle(HandleKind::Vmo);
        let snapshots =
            [ChildOptions::SNAPSHOT, ChildOptions::SNAPSHOT_AT_LEAST_ON_WRITE, ChildOptions::SNAPSHOT_MODIFIED];
        let kinds =
            [snapshots[0], snapshots[0], snapshots[1], snapshots[2], ChildOptions::SLICE, ChildOptions::REFERENCE];
        let mut options = *self.random.pick(&kinds).expect("there are some");
        if self.random.once_in(4) {
            options |= if self.random.once_in(2) { ChildOptions::NO_WRITE } else { ChildOptions::RESIZABLE };
        }
        let (offset, size) = match options.contains(ChildOptions::REFERENCE) {
            true => (0, 0),
            false => (self.offset(vmo) / P * P, self.pages() * P),
        };
        vec![vmo, u64::from(options.bits()).into(), offset.into(), size.into()]
    }

    fn vmo_op(&mut self) -> Vec<Argument> {
        let vmo = self.handle(HandleKind::Vmo);
        let often = [VmoOp::Commit, VmoOp::Decommit, VmoOp::Zero];
        let seldom = [
            VmoOp::Lock,
            VmoOp::TryLock,
            VmoOp::Unlock,
            VmoOp::CacheSync,
            VmoOp::CacheClean,
            VmoOp::CacheCleanInvalidate,
            VmoOp::CacheInvalidate,
            VmoOp::Prefetch,
            VmoOp::DontNeed,
            VmoOp::AlwaysNeed,
        ];
        let ops = if self.random.once_in(3) { &seldom[..] } else { &often[..] };
        let op = *self.random.pick(ops).expect("there are some");
        let size = self.model.vmo_size(self.given.value(vmo)).unwrap_or(0);
        let (offset, len) = match op {
            VmoOp::Lock | VmoOp::TryLock | VmoOp::Unlock => (0, size),
            VmoOp::Zero => (self.offset(vmo), self.bytes()),
            _ => (self.offset(vmo) / P * P, self.len()),
        };
        let op = u64::from(u32::from(op));
        vec![vmo, op.into(), offset.into(), len.into(), self.place(8), 32.into()]
    }

    /// Returns a VMAR, an address and a length: most often something is there.
    fn range(&mut self) -> (Argument, Argument, Argument) {
        let vmar = self.handle(HandleKind::Vmar);
        let regions = self.model.regions_below(self.given.value(vmar));
        let below = if regions.len() > 1 { &regions[1..] } else { &regions[..] };
        let Some(region) = self.random.pick(below).copied() else { return (vmar, FIELD.into(), P.into()) };
        let pages = region.size / P;
        let (skip, take) = match self.random.below(4) {
            0 | 1 => (0, pages),
            2 => (self.random.below(pages.min(12)), 1 + self.random.below(pages.min(12))),
            _ => (self.random.below(pages), 1 + self.random.below(8)),
        };
        let before = if self.random.once_in(10) { P } else { 0 };
        let base = region.base.wrapping_add(skip * P).wrapping_sub(before);
        (vmar, self.near(base), (take * P).into())
    }

    /// Returns the address as one that a step gave, and what is added, where there is such a step.
    fn near(&self, address: u64) -> Argument {
        let page = address / P * P;
        let givers = (0..=64).filter_map(|back| page.checked_sub(back * P));
        let found = givers.filter_map(|at| Some((at, self.given.giver_of(at)?))).next();
        match found.filter(|_| !(FIELD..FIELD + 4096 * P).contains(&address)) {
            Some((at, id)) => Argument { base: Base::Address(id), plus: address - at },
            None => address.into(),
        }
    }

    /// Returns an address of the field, of a mapping or of the RAM, a multiple of `align`.
    pub(crate) fn place(&mut self, align: u64) -> Argument {
        let mut mappings = self.model.mappings();
        mappings.retain(|mapping| !(self.world.is_inside && mapping.base < FIELD));
        let in_page = if self.random.once_in(3) { self.random.below(P) / align * align } else { 0 };
        match self.random.pick(&mappings).copied() {
            Some(mapping) if !self.random.once_in(4) => {
                let page = self.random.below((mapping.size / P).min(16));
                self.near(mapping.base + page * P + in_page)
            }
            _ if !self.world.is_inside && self.random.once_in(2) => {
                (RAM_BASE + self.random.below(8) * P + in_page).into()
            }
            _ => (FIELD + self.random.below(FIELD_PAGES) * P + in_page).into(),
        }
    }

    /// Returns an offset in the VMO.
    fn offset(&mut self, vmo: Argument) -> u64 {
        let size = self.model.vmo_size(self.given.value(vmo)).unwrap_or(0);
        let pages = (size / P).clamp(1, 12);
        match self.random.below(8) {
            0 => self.random.below(pages) * P + self.random.below(P),
            1 => size,
            2 => size.wrapping_sub(P),
            _ => self.random.below(pages) * P,
        }
    }

    fn pages(&mut self) -> u64 {
        match self.random.below(24) {
            0 => 509 + self.random.below(7),
            1 => 512,
            2..8 => 1,
            _ => 1 + self.random.below(10),
        }
    }

    fn len(&mut self) -> u64 {
        let bytes = if self.random.once_in(8) { self.random.below(P) } else { 0 };
        if self.random.once_in(16) { bytes } else { self.pages() * P - bytes }
    }

    fn bytes(&mut self) -> u64 {
        if self.random.once_in(3) { self.pages() * P } else { self.random.below(2 * P) }
    }

    fn perms(&mut self) -> u64 {
        *self.random.pick(&[3, 3, 3, 7, 1, 1, 5, 0, 0x4001]).expect("there are some")
    }

    fn rights(&mut self) -> u64 {
        let some = Rights::from_bits_retain(self.random.next() as u32 & Rights::all().bits()) - Rights::SAME_RIGHTS;
        match self.random.below(8) {
            0 => u64::from((some & (Rights::DEFAULT_VMO | Rights::EXECUTE)).bits()),
            1 => u64::from((Rights::DEFAULT_VMO - some).bits()),
            2 => u64::from((Rights::DEFAULT_VMAR | (Rights::ACCESS - some)).bits()),
            _ => u64::from(Rights::SAME_RIGHTS.bits()),
        }
    }

    /// Returns a handle of that kind, where there is one.
    fn handle(&mut self, kind: HandleKind) -> Argument {
        let handles = self.given.handles();
        let alive: Vec<u32> = handles
            .iter()
            .filter(|(_, handle)| self.model.kind_of(*handle) == Some(kind) && self.may_use(*handle))
            .map(|(id, _)| *id)
            .collect();
        match self.random.pick(&alive).copied() {
            Some(id) => Argument { base: Base::Handle(id), plus: 0 },
            None => self.any_handle(),
        }
    }

    pub(crate) fn any_handle(&mut self) -> Argument {
        let handles = self.given.handles();
        let recent = &handles[handles.len().saturating_sub(14)..];
        match self.random.pick(recent).copied() {
            Some((id, handle)) if self.may_use(handle) => Argument { base: Base::Handle(id), plus: 0 },
            _ => self.random.below(8).into(),
        }
    }

    /// Tells whether the handle may be used: inside, the root and the RAM are left alone.
    pub(crate) fn may_use(&self, handle: u64) -> bool {
        let object = u32::try_from(handle).ok().and_then(|raw| self.model.handles.get(&raw)).map(|found| found.object);
        let is_kept = object == Some(Object::Vmar(self.model.root)) || object == Some(Object::Vmo(self.model.ram));
        !(self.world.is_inside && is_kept)
    }
}
