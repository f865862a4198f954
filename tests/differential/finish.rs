//! The end of a program: all memory is compared, everything is closed, and the VM is as it was when it started.

use abi::{CachePolicy, Call, Property, RAM_BASE, Startup, Topic, VmOptions, VmoOp};
use model::{Access, HandleKind, P};

use crate::run::{RAM, Run, SPACE, Stop, differ};

/// Where programs do most of what they do.
const FIELD: u64 = 0x8000_0000;
/// Where a page lies into which VMOs are read.
const SCRATCH: u64 = SPACE - 4 * P;
/// The most pages of a VMO, and of either end of a mapping, that are compared.
const MOST: u64 = 10;

impl Run<'_> {
    /// Compares what every page shows and allows, and what VMOs hold.
    pub(crate) fn compare_all(&mut self) -> Result<(), Stop> {
        for page in self.pages_of_interest() {
            self.compare_page(page)?;
        }
        self.compare_vmos()
    }

    fn pages_of_interest(&self) -> Vec<u64> {
        let mut pages: Vec<u64> = (0..25).map(|page| FIELD + page * P).collect();
        for mapping in self.model.mappings() {
            let count = mapping.size / P;
            let first = (0..count.min(MOST)).map(|page| mapping.base + page * P);
            let last = (count.saturating_sub(2)..=count).map(|page| mapping.base + page * P);
            pages.extend(first.chain(last).filter(|page| *page < SPACE));
        }
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    /// Reads, fetches from and writes to a page.
    fn compare_page(&mut self, page: u64) -> Result<(), Stop> {
        let frame = self.guest.find(page, vmsa::Access::Read);
        let expected = self.model.page_at(page);
        match (frame, expected) {
            (Some(frame), Some(expected)) => {
                let mut bytes = [0; P as usize];
                self.guest.read(frame, &mut bytes);
                if !expected.is(&bytes) {
                    return differ(format!("the page at {page:#x} differs"));
                }
            }
            (None, _) if self.can_run_out() => {}
            (None, None) => {}
            (frame, _) => return differ(format!("the page at {page:#x} can be read: {}", frame.is_some())),
        }
        self.touch(page, Access::Execute)?;
        self.touch(page, Access::Write)
    }

    /// Reads what every VMO with a handle holds, and is.
    fn compare_vmos(&mut self) -> Result<(), Stop> {
        let handles = self.model.live_handles();
        let Some([root, ..]) = self.call(Call::StartupHandle, &args(&[Startup::RootVmar as u64]))? else {
            return Ok(());
        };
        let Some([scratch, ..]) = self.call(Call::VmoCreate, &args(&[P]))? else { return Ok(()) };
        let placed = VmOptions::PERM_READ | VmOptions::PERM_WRITE | VmOptions::SPECIFIC_OVERWRITE;
        if self.call(Call::VmarMap, &args(&[root, u64::from(placed.bits()), SCRATCH, scratch, 0, P]))?.is_none() {
            return Ok(());
        }
        for handle in handles {
            let topic = u64::from(u32::from(Topic::HandleCount));
            self.call(Call::ObjectGetInfo, &args(&[handle, topic, SCRATCH, 4]))?;
            let is_vmo = self.model.kind_of(handle) == Some(HandleKind::Vmo);
            let Some(size) = self.model.vmo_size(handle).filter(|_| is_vmo) else { continue };
            self.call(Call::ObjectGetInfo, &args(&[handle, u64::from(u32::from(Topic::Vmo)), SCRATCH, 176]))?;
            for page in (0..(size / P).min(MOST)).chain((size / P).checked_sub(1)) {
                self.call(Call::VmoRead, &args(&[handle, SCRATCH, page * P, P]))?;
            }
        }
        Ok(())
    }

    /// Closes everything, and brings the VM back to its start.
    pub(crate) fn close_all(&mut self) -> Result<(), Stop> {
        for handle in self.model.live_handles() {
            self.call(Call::HandleClose, &args(&[handle]))?;
        }
        let Some([root, ..]) = self.call(Call::StartupHandle, &args(&[Startup::RootVmar as u64]))? else {
            return differ("no handle to the root is to be had".into());
        };
        let Some([ram, ..]) = self.call(Call::StartupHandle, &args(&[Startup::RamVmo as u64]))? else {
            return differ("no handle to the RAM is to be had".into());
        };
        self.call(Call::VmarUnmap, &args(&[root, 0, SPACE]))?;
        self.decommit(ram)?;
        self.restore_policy(ram)?;
        let all = VmOptions::PERMS | VmOptions::SPECIFIC;
        self.call(Call::VmarMap, &args(&[root, u64::from(all.bits()), RAM_BASE, ram, 0, RAM]))?;
        self.restore_name(ram)?;
        self.decommit(ram)?;
        for handle in [root, ram] {
            self.call(Call::HandleClose, &args(&[handle]))?;
        }
        match self.guest.system.object_counts() {
            (1, 1) => Ok(()),
            (vmos, mappings) => differ(format!("{vmos} VMOs and {mappings} mappings are left")),
        }
    }

    fn decommit(&mut self, ram: u64) -> Result<(), Stop> {
        let op = u64::from(u32::from(VmoOp::Decommit));
        self.call(Call::VmoOpRange, &args(&[ram, op, 0, RAM])).map(drop)
    }

    fn restore_policy(&mut self, ram: u64) -> Result<(), Stop> {
        let policy = u64::from(u32::from(CachePolicy::Cached));
        self.call(Call::VmoSetCachePolicy, &args(&[ram, policy])).map(drop)
    }

    fn restore_name(&mut self, ram: u64) -> Result<(), Stop> {
        if self.guest.store(RAM_BASE, u64::from_le_bytes(*b"ram\0\0\0\0\0")) {
            self.model.poke(RAM_BASE, b"ram\0\0\0\0\0");
            let name = u64::from(u32::from(Property::Name));
            self.call(Call::ObjectSetProperty, &args(&[ram, name, RAM_BASE, 3]))?;
        }
        Ok(())
    }
}

fn args(values: &[u64]) -> [u64; 8] {
    let mut args = [0; 8];
    args[..values.len()].copy_from_slice(values);
    args
}
