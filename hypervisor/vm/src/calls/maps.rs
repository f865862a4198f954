//! What `object_get_info` tells of everything in a VMAR, and of how many handles lead to an object.

use abi::{InfoHandleCount, InfoMaps, MapsType, Rights, Status};
use vmsa::PAGE_SHIFT;
use zerocopy::IntoBytes;

use super::{Caller, Reply, demand};
use crate::Machine;
use crate::handles::{Entry, Object};
use crate::memory::Attribution;
use crate::region::{Kind, Mapping, RegionId, bits_of_perms};
use crate::space::{Space, Stretch};
use crate::user;
use crate::vmar::Locked;

/// How many records are made before they are written.
const BATCH: usize = 8;
const RECORD_BYTES: u64 = size_of::<InfoMaps>() as u64;

/// The VMAR that a call asks about; another may take its place while the space is unlocked.
#[derive(Clone, Copy)]
struct Asked {
    vmar: RegionId,
    koid: u64,
}

impl<M: Machine> Caller<'_, M> {
    /// VMAR_MAPS: x1 records written, x2 records there are.
    ///
    /// The space is unlocked while records are written. What another vCPU changes meanwhile is told of as it was or as it is;
    /// records keep their order, and nothing comes twice.
    pub(super) fn vmar_maps(&self) -> Result<Reply, Status> {
        let (buffer, size) = (self.arg(2), self.arg(3));
        let (asked, available) = self.count_maps()?;
        let room = (size / RECORD_BYTES).min(available);
        let buffer = user::Writer::new(self.system, self.id, buffer, size, room * RECORD_BYTES)?;
        let mut written = 0;
        let mut last = None;
        while written < room {
            let mut records = [InfoMaps::default(); BATCH];
            let wanted = (room - written).min(BATCH as u64) as usize;
            let count = self.next_maps(asked, &mut last, &mut records[..wanted])?;
            buffer.write(written * RECORD_BYTES, records[..count].as_bytes())?;
            written += count as u64;
            if count < wanted {
                break;
            }
        }
        Ok(Reply::two(written, available))
    }

    /// Checks the handle; returns the VMAR that it leads to, and how many records it makes.
    fn count_maps(&self) -> Result<(Asked, u64), Status> {
        let locked = self.lock();
        let (vmar, rights) = self.vmar(&locked, 0)?;
        demand(rights, Rights::INSPECT)?;
        let object = locked.space.vmar(vmar);
        if !object.is_alive {
            return Err(Status::BAD_STATE);
        }
        let mut walk = Walk::new(vmar, None);
        let count = core::iter::from_fn(|| walk.next(&locked.space)).count();
        Ok((Asked { vmar, koid: object.koid }, count as u64))
    }

    /// Makes the records that come after `last`; returns how many.
    fn next_maps(&self, asked: Asked, last: &mut Option<Place>, records: &mut [InfoMaps]) -> Result<usize, Status> {
        let locked = self.lock();
        locked.check_alive(asked.vmar, asked.koid)?;
        let mut walk = Walk::new(asked.vmar, *last);
        let mut count = 0;
        for record in records {
            let Some(found) = walk.next(&locked.space) else { break };
            *record = self.record_of(&locked, found);
            count += 1;
        }
        *last = walk.last;
        Ok(count)
    }

    fn record_of(&self, locked: &Locked<'_, M>, found: Found) -> InfoMaps {
        let region = &locked.space.regions[found.region];
        let record = InfoMaps { base: region.base, size: region.size, depth: found.depth, ..InfoMaps::default() };
        match (&region.kind, found.stretch) {
            (Kind::Mapping(mapping), Some(stretch)) => self.mapping_record(record, mapping, stretch),
            _ => InfoMaps { maps_type: MapsType::Vmar.into(), ..record },
        }
    }

    /// Returns the record of a part of the mapping, of which `record` tells the rest.
    fn mapping_record(&self, record: InfoMaps, mapping: &Mapping, part: Stretch) -> InfoMaps {
        let (size, vmo_offset) = (part.end - part.base, mapping.vmo_offset + (part.base - record.base));
        let vmos = self.system.lock_vmos();
        let vmo = &vmos[mapping.vmo];
        let (first, end) = (vmo_offset >> PAGE_SHIFT, (vmo_offset + size) >> PAGE_SHIFT);
        let Attribution { private, scaled, fraction } = self.system.attribution(&vmos, mapping.vmo, first, end);
        InfoMaps {
            name: vmo.name,
            base: part.base,
            size,
            maps_type: MapsType::Mapping.into(),
            mmu_flags: bits_of_perms(part.perms),
            vmo_koid: vmo.koid,
            vmo_offset,
            committed_bytes: scaled,
            populated_bytes: scaled,
            committed_private_bytes: private,
            populated_private_bytes: private,
            committed_scaled_bytes: scaled,
            populated_scaled_bytes: scaled,
            committed_fractional_scaled_bytes: fraction,
            populated_fractional_scaled_bytes: fraction,
            ..record
        }
    }

    /// HANDLE_COUNT.
    pub(super) fn handle_count(&self) -> Result<InfoHandleCount, Status> {
        let locked = self.lock();
        let Entry { object, rights, .. } = self.entry(&locked, 0)?;
        demand(rights, Rights::INSPECT)?;
        let handle_count = match object {
            Object::Vmar(id) => locked.space.vmar(id).handles,
            Object::Vmo(id) => self.system.lock_vmos()[id].handle_count,
            Object::Bti(id) => self.system.lock_vmos().btis[id].handle_count,
            // These only the VM itself has handles to.
            Object::Vm(_) | Object::Resource(_) | Object::Pmt(_) => locked.space.handles.count(object),
        };
        Ok(InfoHandleCount { handle_count })
    }
}

/// A record's place among the others: they come by their bases, and what begins where its VMAR begins comes after that.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    base: u64,
    depth: u64,
}

/// What a record tells of.
struct Found {
    region: RegionId,
    /// The part of a mapping.
    stretch: Option<Stretch>,
    depth: u64,
}

/// A walk over a VMAR and all that is in it, a parent before its children. Steps down and up by parents, so that no depth of
/// nesting can exhaust the stack; and where it is can be found again from the last place, whatever has changed meanwhile.
struct Walk {
    top: RegionId,
    last: Option<Place>,
    /// The VMAR whose children are looked at, from this address on.
    at: RegionId,
    depth: u64,
    address: u64,
}

impl Walk {
    /// Returns a walk that begins after `last`, or with the VMAR itself.
    fn new(top: RegionId, last: Option<Place>) -> Self {
        Self { top, last, at: top, depth: 0, address: last.map_or(0, |last| last.base) }
    }

    fn next(&mut self, space: &Space) -> Option<Found> {
        if self.last.is_none() {
            return self.find(space.regions[self.top].base, self.top, None, 0);
        }
        loop {
            let child = space.vmar(self.at).children.first_ending_above(&space.regions, self.address);
            match child {
                Some(id) => {
                    if let Some(found) = self.look_at(space, id) {
                        return Some(found);
                    }
                }
                None if self.at == self.top => return None,
                None => {
                    let region = &space.regions[self.at];
                    (self.address, self.at, self.depth) = (region.end(), region.parent?, self.depth - 1);
                }
            }
        }
    }

    /// Returns what of the child was not told of yet, or goes on behind it or in it.
    fn look_at(&mut self, space: &Space, id: RegionId) -> Option<Found> {
        let (region, depth) = (&space.regions[id], self.depth + 1);
        let is_new = |base: u64| self.last < Some(Place { base, depth });
        if region.mapping().is_some() {
            let stretch = space.stretches(id, self.address).find(|stretch| is_new(stretch.base));
            self.address = stretch.map_or(region.end(), |stretch| stretch.base);
            return stretch.and_then(|stretch| self.find(stretch.base, id, Some(stretch), depth));
        }
        if is_new(region.base) {
            return self.find(region.base, id, None, depth);
        }
        (self.at, self.depth) = (id, depth);
        None
    }

    fn find(&mut self, base: u64, region: RegionId, stretch: Option<Stretch>, depth: u64) -> Option<Found> {
        self.last = Some(Place { base, depth });
        Some(Found { region, stretch, depth })
    }
}
