//! object_get_info (semantics 7).

use core::mem::offset_of;

use abi::{
    INFO_VMO_SIZES, InfoHandleBasic, InfoHandleCount, InfoMaps, InfoVmar, InfoVmo, MapsType, Rights, Status, Topic,
    VmoInfoFlags, VmoOptions,
};
use zerocopy::IntoBytes;

use crate::arguments::Arguments;
use crate::handles::{Handle, Object};
use crate::mapping::{Mapping, Stretch};
use crate::memory::{Attributed, Kind};
use crate::vmar::Child;
use crate::vmo::Origin;
use crate::{Koid, Model, P, Reply, Result, ensure};

impl Model {
    /// object_get_info(handle, topic, buffer, size): x1 records written, x2 records there are.
    pub(crate) fn object_get_info(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let topic = Topic::try_from(args.word(1)?).map_err(|_| Status::NOT_SUPPORTED)?;
        match topic {
            Topic::HandleBasic => {
                let record = self.handle_basic(self.handle(args, 0)?);
                let koids = [offset_of!(InfoHandleBasic, koid), offset_of!(InfoHandleBasic, related_koid)];
                self.one_record(args, record.as_bytes(), &koids)
            }
            Topic::HandleCount => {
                let handle = self.handle(args, 0)?;
                handle.demand(Rights::INSPECT)?;
                let record = InfoHandleCount { handle_count: self.handle_count(handle.object) as u32 };
                self.one_record(args, record.as_bytes(), &[])
            }
            Topic::Vmar => {
                let (vmar, handle) = self.vmar_handle(args, 0)?;
                handle.demand(Rights::INSPECT)?;
                let record = InfoVmar { base: self.vmar(vmar).base, len: self.vmar(vmar).size };
                self.one_record(args, record.as_bytes(), &[])
            }
            Topic::VmoV1 => self.info_vmo(args, INFO_VMO_SIZES[0]),
            Topic::VmoV2 => self.info_vmo(args, INFO_VMO_SIZES[1]),
            Topic::VmoV3 => self.info_vmo(args, INFO_VMO_SIZES[2]),
            Topic::Vmo => self.info_vmo(args, INFO_VMO_SIZES[3]),
            Topic::VmarMaps => self.vmar_maps(args),
        }
    }

    /// Writes the one record of a topic, with koids at the offsets.
    fn one_record(&mut self, args: Arguments<'_>, record: &[u8], koids: &[usize]) -> Result<Reply> {
        let (buffer, size) = (args.get(2), args.get(3));
        if size < record.len() as u64 {
            return Ok(Reply { status: Status::BUFFER_TOO_SMALL, ..Reply::with(&[0, 1]) });
        }
        self.write_buffer(buffer, size, record)?;
        self.answer.koids.extend(koids.iter().map(|offset| buffer + *offset as u64));
        Ok(Reply::with(&[1, 1]))
    }

    fn handle_basic(&self, handle: Handle) -> InfoHandleBasic {
        let is_vmar = matches!(handle.object, Object::Vmar(_));
        InfoHandleBasic {
            koid: handle.object.koid(),
            rights: handle.rights.bits(),
            object_type: handle.object.object_type().into(),
            // A VMAR belongs to its VM, as in Zircon to its process.
            related_koid: if is_vmar { self.vm } else { 0 },
            ..InfoHandleBasic::default()
        }
    }

    fn info_vmo(&mut self, args: Arguments<'_>, len: usize) -> Result<Reply> {
        let (vmo, handle) = self.vmo_handle(args, 0)?;
        let record = self.vmo_record(vmo, handle.rights);
        self.one_record(args, &record.as_bytes()[..len], &[offset_of!(InfoVmo, koid), offset_of!(InfoVmo, parent_koid)])
    }

    fn vmo_record(&self, koid: Koid, rights: Rights) -> InfoVmo {
        let (vmo, memory) = (self.vmo(koid), self.memory_of(koid));
        // What slices and references show is counted where it was made.
        let held = if vmo.counts() { memory.attributed(0, memory.size / P) } else { Attributed::default() };
        let mappings = self.mappings_of(koid);
        let mut flags = VmoInfoFlags::VIA_HANDLE;
        flags.set(VmoInfoFlags::PAGED, memory.kind != Kind::Physical);
        flags.set(VmoInfoFlags::RESIZABLE, vmo.is_resizable());
        flags.set(VmoInfoFlags::COW_CLONE, vmo.origin == Origin::Snapshot);
        flags.set(VmoInfoFlags::CONTIGUOUS, memory.kind == Kind::Contiguous);
        flags.set(VmoInfoFlags::DISCARDABLE, vmo.options.contains(VmoOptions::DISCARDABLE));
        InfoVmo {
            koid,
            name: vmo.name,
            size_bytes: self.size_of(koid),
            parent_koid: vmo.parent_koid,
            num_children: self.child_count(koid),
            num_mappings: mappings,
            // The address spaces that map it: there is one.
            share_count: mappings.min(1),
            flags: flags.bits(),
            committed_bytes: held.bytes(),
            handle_rights: rights.bits(),
            cache_policy: memory.policy.into(),
            populated_bytes: held.bytes(),
            committed_private_bytes: held.private,
            populated_private_bytes: held.private,
            committed_scaled_bytes: held.bytes(),
            populated_scaled_bytes: held.bytes(),
            committed_fractional_scaled_bytes: held.fraction(),
            populated_fractional_scaled_bytes: held.fraction(),
            ..InfoVmo::default()
        }
    }

    /// ZX_INFO_VMAR_MAPS: the VMAR itself and what is in it, a parent before its children; as many records as there is room for.
    fn vmar_maps(&mut self, args: Arguments<'_>) -> Result<Reply> {
        const LEN: u64 = size_of::<InfoMaps>() as u64;
        let (buffer, size) = (args.get(2), args.get(3));
        let (vmar, handle) = self.vmar_handle(args, 0)?;
        handle.demand(Rights::INSPECT)?;
        ensure(self.vmar(vmar).is_alive, Status::BAD_STATE)?;
        let mut records = Vec::new();
        self.add_maps(vmar, 0, &mut records);
        let actual = (records.len() as u64).min(size / LEN);
        let bytes: Vec<u8> =
            records.iter().take(actual as usize).flat_map(|record| record.as_bytes()).copied().collect();
        self.write_buffer(buffer, size, &bytes)?;
        let koid_at = |at| buffer + at * LEN + offset_of!(InfoMaps, vmo_koid) as u64;
        self.answer.koids.extend((0..actual).map(koid_at));
        Ok(Reply::with(&[actual, records.len() as u64]))
    }

    fn add_maps(&self, koid: Koid, depth: u64, records: &mut Vec<InfoMaps>) {
        let vmar = self.vmar(koid);
        let maps_type = MapsType::Vmar.into();
        records.push(InfoMaps { base: vmar.base, size: vmar.size, depth, maps_type, ..InfoMaps::default() });
        for child in &vmar.children {
            match child {
                Child::Vmar(below) => self.add_maps(*below, depth + 1, records),
                Child::Mapping(mapping) => {
                    records
                        .extend(mapping.stretches.iter().map(|stretch| self.maps_record(mapping, stretch, depth + 1)));
                }
            }
        }
    }

    fn maps_record(&self, mapping: &Mapping, stretch: &Stretch, depth: u64) -> InfoMaps {
        let (vmo, offset) = (self.vmo(mapping.vmo), mapping.offset_at(stretch.base));
        let size = stretch.end - stretch.base;
        let pages = self.size_of(mapping.vmo) / P;
        let (first, end) = (pages.min(offset / P), pages.min((offset + size) / P));
        let held = match vmo.counts() {
            true => self.memory_of(mapping.vmo).attributed(first, end),
            false => Attributed::default(),
        };
        InfoMaps {
            name: vmo.name,
            base: stretch.base,
            size,
            depth,
            maps_type: MapsType::Mapping.into(),
            mmu_flags: stretch.perms.bits(),
            vmo_koid: mapping.vmo,
            vmo_offset: offset,
            committed_bytes: held.bytes(),
            populated_bytes: held.bytes(),
            committed_private_bytes: held.private,
            populated_private_bytes: held.private,
            committed_scaled_bytes: held.bytes(),
            populated_scaled_bytes: held.bytes(),
            committed_fractional_scaled_bytes: held.fraction(),
            populated_fractional_scaled_bytes: held.fraction(),
            ..InfoMaps::default()
        }
    }
}
