//! What can be asked about objects and about the tables.

use core::sync::atomic::Ordering::Relaxed;

use abi::stats::{COUNT, Counter};
use abi::{
    AccessKind, INFO_VMO_SIZES, InfoHandleBasic, InfoVmar, InfoVmo, ObjectType, Rights, Status, Topic, VmoInfoFlags,
    VmoOptions,
};
use vmsa::Ipa;
use zerocopy::IntoBytes;

use super::{Caller, Reply, demand};
use crate::Machine;
use crate::handles::{Entry, Object};
use crate::memory::{Attribution, Backing, Memory};
use crate::system::{System, VmId};
use crate::user;
use crate::vmar::Locked;
use crate::vmo::{Kind, Vmo, VmoId, Vmos};

impl<M: Machine> Caller<'_, M> {
    /// object_get_info(handle, topic, buf, buf size): x1 actual, x2 available.
    pub(super) fn object_get_info(&self) -> Result<Reply, Status> {
        let topic = Topic::try_from(self.word(1)?).map_err(|_| Status::NOT_SUPPORTED)?;
        match topic {
            Topic::HandleBasic => self.write_record(self.handle_basic()?.as_bytes()),
            Topic::Vmar => self.write_record(self.info_vmar()?.as_bytes()),
            Topic::HandleCount => self.write_record(self.handle_count()?.as_bytes()),
            Topic::VmarMaps => self.vmar_maps(),
            Topic::VmoV1 => self.write_record(&self.info_vmo()?.as_bytes()[..INFO_VMO_SIZES[0]]),
            Topic::VmoV2 => self.write_record(&self.info_vmo()?.as_bytes()[..INFO_VMO_SIZES[1]]),
            Topic::VmoV3 => self.write_record(&self.info_vmo()?.as_bytes()[..INFO_VMO_SIZES[2]]),
            Topic::Vmo => self.write_record(self.info_vmo()?.as_bytes()),
        }
    }

    /// Writes the one record of a topic.
    fn write_record(&self, record: &[u8]) -> Result<Reply, Status> {
        let (buffer, size) = (self.arg(2), self.arg(3));
        if size < record.len() as u64 {
            return Ok(Reply::two(0, 1).with_status(Status::BUFFER_TOO_SMALL));
        }
        user::Writer::new(self.system, self.id, buffer, size, record.len() as u64)?.write(0, record)?;
        Ok(Reply::two(1, 1))
    }

    fn handle_basic(&self) -> Result<InfoHandleBasic, Status> {
        let locked = self.lock();
        let Entry { object, rights, .. } = self.entry(&locked, 0)?;
        let (koid, object_type) = match object {
            Object::Vmar(id) => (locked.space.vmar(id).koid, ObjectType::Vmar),
            Object::Vmo(id) => (self.system.lock_vmos()[id].koid, ObjectType::Vmo),
            Object::Vm(id) => (self.system.vm(id).koid, ObjectType::Guest),
            Object::Resource(id) => (self.system.vm(id).resource_koid, ObjectType::Resource),
            Object::Bti(id) => (self.system.lock_vmos().btis[id].koid, ObjectType::Bti),
            Object::Pmt(id) => (self.system.lock_vmos().pins[id].koid, ObjectType::Pmt),
        };
        // A VMAR belongs to its VM, as in Zircon to its process.
        let related_koid = if object_type == ObjectType::Vmar { locked.vm.koid } else { 0 };
        Ok(InfoHandleBasic {
            koid,
            rights: rights.bits(),
            object_type: object_type.into(),
            related_koid,
            ..InfoHandleBasic::default()
        })
    }

    fn info_vmar(&self) -> Result<InfoVmar, Status> {
        let locked = self.lock();
        let (vmar, rights) = self.vmar(&locked, 0)?;
        demand(rights, Rights::INSPECT)?;
        let region = &locked.space.regions[vmar];
        Ok(InfoVmar { base: region.base, len: region.size })
    }

    fn info_vmo(&self) -> Result<InfoVmo, Status> {
        self.with_vmo(|_| Ok(()), |id, rights| Ok(self.system.info_vmo(id, rights)))
    }

    /// stage2_walk(vmar, addr): x1 descriptor, x2 level, x3 the table's page number.
    pub(super) fn stage2_walk(&self) -> Result<Reply, Status> {
        let address = self.inspected_address()?;
        let walk = self.system.tree(self.id).walk(&self.system.machine, address).ok_or(Status::OUT_OF_RANGE)?;
        Ok(Reply::three([walk.descriptor, u64::from(walk.level.number()), walk.table.page_number()]))
    }

    /// stage2_translate(vmar, addr, access): x1 PAR_EL1.
    pub(super) fn stage2_translate(&self) -> Result<Reply, Status> {
        let address = self.inspected_address()?;
        let access = AccessKind::try_from(self.arg(2)).map_err(|_| Status::INVALID_ARGS)?;
        self.system.machine.translate(address, access).map(Reply::one)
    }

    /// Returns the address in the VMAR that tables are asked about.
    fn inspected_address(&self) -> Result<Ipa, Status> {
        self.demand_inspection()?;
        let address = self.arg(1);
        let locked = self.lock();
        let (vmar, rights) = self.vmar(&locked, 0)?;
        demand(rights, Rights::INSPECT)?;
        if !locked.space.regions[vmar].holds(address, 1) {
            return Err(Status::OUT_OF_RANGE);
        }
        Ok(Ipa(address))
    }

    /// stage2_stats(VM, buf, buf size): x1 actual, x2 available, in counters.
    pub(super) fn stage2_stats(&self) -> Result<Reply, Status> {
        self.demand_inspection()?;
        let (buffer, size) = (self.arg(1), self.arg(2));
        let id = self.vm_with_right(&self.lock(), Rights::INSPECT)?;
        let actual = (size / 8).min(COUNT as u64);
        let buffer = user::Writer::new(self.system, self.id, buffer, size, actual * 8)?;
        let counters = self.counters(id);
        buffer.write(0, counters[..actual as usize].as_bytes())?;
        Ok(Reply::two(actual, COUNT as u64))
    }

    fn vm_with_right(&self, locked: &Locked<'_, M>, right: Rights) -> Result<VmId, Status> {
        match self.entry(locked, 0)? {
            Entry { object: Object::Vm(id), rights, .. } => demand(rights, right).map(|()| id),
            _ => Err(Status::WRONG_TYPE),
        }
    }

    fn counters(&self, id: VmId) -> [u64; COUNT] {
        let vm = self.system.vm(id);
        let stats = self.system.tree(self.id).stats();
        let mut counters = [0; COUNT];
        for (counter, value) in Counter::ALL.iter().zip(&mut counters) {
            *value = match counter {
                Counter::Stores => stats.stores,
                Counter::TlbiIpa => stats.tlbi_ipa,
                Counter::TlbiRange => stats.tlbi_range,
                Counter::TlbiVmid => stats.tlbi_vmid,
                Counter::TlbiStage1 => stats.tlbi_stage1,
                Counter::Dsb => stats.dsb,
                Counter::Isb => stats.isb,
                Counter::Tables => stats.tables,
                Counter::FaultsServed => vm.faults.served.load(Relaxed),
                Counter::FaultsSpurious => vm.faults.spurious.load(Relaxed),
                Counter::Aborts => vm.faults.aborts.load(Relaxed),
                Counter::Frames => vm.account.held(),
            };
        }
        counters
    }
}

impl<M: Machine> System<M> {
    /// Returns what the VMO's pages from number `first` to `end` take.
    pub(super) fn attribution(&self, vmos: &Vmos, id: VmoId, first: u64, end: u64) -> Attribution {
        let Vmo { kind, memory, .. } = vmos[id];
        match kind {
            // What it shows is counted where it was made.
            Kind::Slice { .. } | Kind::Reference => Attribution::default(),
            Kind::Original | Kind::Snapshot => vmos[memory].attribution(&self.frames, first, end),
        }
    }

    fn info_vmo(&self, id: VmoId, rights: Rights) -> InfoVmo {
        let vmos = self.lock_vmos();
        let (vmo, view) = (&vmos[id], vmos.view(id));
        let memory = &vmos[view.memory];
        let Attribution { private, scaled, fraction } = self.attribution(&vmos, id, 0, memory.page_count());
        InfoVmo {
            koid: vmo.koid,
            name: vmo.name,
            size_bytes: view.size,
            parent_koid: vmo.parent_koid,
            num_children: vmo.family.child_count,
            num_mappings: vmo.mapping_count,
            share_count: vmos.share_count(id),
            flags: info_flags(vmo, memory).bits(),
            committed_bytes: scaled,
            handle_rights: rights.bits(),
            cache_policy: memory.cache.into(),
            populated_bytes: scaled,
            committed_private_bytes: private,
            populated_private_bytes: private,
            committed_scaled_bytes: scaled,
            populated_scaled_bytes: scaled,
            committed_fractional_scaled_bytes: fraction,
            populated_fractional_scaled_bytes: fraction,
            ..InfoVmo::default()
        }
    }
}

fn info_flags(vmo: &Vmo, memory: &Memory) -> VmoInfoFlags {
    let mut flags = VmoInfoFlags::VIA_HANDLE;
    flags.set(VmoInfoFlags::PAGED, !matches!(memory.backing, Backing::Device(_)));
    flags.set(VmoInfoFlags::RESIZABLE, vmo.options.contains(VmoOptions::RESIZABLE));
    flags.set(VmoInfoFlags::COW_CLONE, matches!(vmo.kind, Kind::Snapshot));
    flags.set(VmoInfoFlags::DISCARDABLE, vmo.options.contains(VmoOptions::DISCARDABLE));
    flags.set(VmoInfoFlags::CONTIGUOUS, matches!(memory.backing, Backing::Contiguous(_)));
    flags
}
