//! What a guest's own accesses find, and buffers of calls (semantics 9; the contract's "Buffers").

use abi::Status;

use crate::handles::Object;
use crate::memory::{Kind, PageView};
use crate::shape::Perms;
use crate::{Koid, Model, P, Result, ensure};

/// What an access does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is named for what it does")]
pub enum Access {
    Read,
    Write,
    Execute,
}

impl Access {
    const fn needed(self) -> Perms {
        match self {
            Self::Read => Perms::PERM_READ,
            Self::Write => Perms::PERM_WRITE,
            Self::Execute => Perms::PERM_EXECUTE,
        }
    }
}

impl Model {
    /// Returns the VMO and the offset in it that an address leads to, if the access is allowed: a mapping, its permissions,
    /// the VMO's size.
    fn locate(&self, address: u64, access: Access) -> Option<(Koid, u64)> {
        let (_, mapping) = self.mapping_below(self.root, address)?;
        let offset = mapping.offset_at(address);
        let is_allowed = mapping.perms_at(address).contains(access.needed());
        (is_allowed && offset < self.size_of(mapping.vmo)).then_some((mapping.vmo, offset))
    }

    /// Tells whether the access is allowed. A write gives the page memory of its own.
    pub fn touch(&mut self, address: u64, access: Access) -> bool {
        let Some((vmo, offset)) = self.locate(address, access) else { return false };
        if access == Access::Write && self.memory_of(vmo).kind != Kind::Physical {
            let number = (self.vmo(vmo).window() + offset) / P;
            self.memory_mut(vmo).commit(number, number + 1);
        }
        true
    }

    /// Returns the page that can be read at the address.
    pub fn page_at(&self, address: u64) -> Option<PageView> {
        let (vmo, offset) = self.locate(address, Access::Read)?;
        Some(self.memory_of(vmo).view((self.vmo(vmo).window() + offset) / P))
    }

    /// Returns the eight bytes at an address that is a multiple of 8.
    pub fn load(&self, address: u64) -> Option<u64> {
        self.page_at(address).map(|page| page.word((address % P) as usize))
    }

    /// Stores eight bytes at an address that is a multiple of 8. Tells whether that is allowed.
    pub fn store(&mut self, address: u64, value: u64) -> bool {
        let Some((vmo, offset)) = self.locate(address, Access::Write) else { return false };
        self.write_memory(vmo, offset, &value.to_le_bytes());
        true
    }

    /// INVALID_ARGS unless the guest itself could access every byte. A buffer of no bytes is not looked at.
    pub(crate) fn ensure_buffer(&self, base: u64, len: u64, access: Access) -> Result<()> {
        let end = base.checked_add(len).ok_or(Status::INVALID_ARGS)?;
        let mut at = base;
        while at < end {
            let (vmo, _) = self.locate(at, access).ok_or(Status::INVALID_ARGS)?;
            // EL2 does not see what guests see without caches, nor devices.
            let memory = self.memory_of(vmo);
            ensure(memory.is_cached() && memory.kind != Kind::Physical, Status::INVALID_ARGS)?;
            at = (at + 1).next_multiple_of(P);
        }
        Ok(())
    }

    /// Returns the bytes of a buffer.
    pub(crate) fn read_buffer(&self, base: u64, len: u64) -> Result<Vec<u8>> {
        self.ensure_buffer(base, len, Access::Read)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            let (at, rest) = (base + bytes.len() as u64, len - bytes.len() as u64);
            let (vmo, offset) = self.locate(at, Access::Read).ok_or(Status::INVALID_ARGS)?;
            bytes.extend(self.memory_of(vmo).read(self.vmo(vmo).window() + offset, rest.min(P - at % P)));
        }
        Ok(bytes)
    }

    /// Writes to the start of a buffer of `len` bytes.
    pub(crate) fn write_buffer(&mut self, base: u64, len: u64, bytes: &[u8]) -> Result<()> {
        self.ensure_buffer(base, len, Access::Write)?;
        ensure(self.poke(base, bytes), Status::INVALID_ARGS)
    }

    /// Returns the bytes at the address, where all of them can be read.
    pub fn peek(&self, address: u64, len: u64) -> Option<Vec<u8>> {
        self.read_buffer(address, len).ok()
    }

    /// Writes to memory as the guest would that puts its own words in the place of what is free.
    pub fn poke(&mut self, address: u64, bytes: &[u8]) -> bool {
        let mut done = 0;
        while done < bytes.len() {
            let at = address + done as u64;
            let part = (bytes.len() - done).min((P - at % P) as usize);
            let Some((vmo, offset)) = self.locate(at, Access::Write) else { return false };
            self.write_memory(vmo, offset, &bytes[done..done + part]);
            done += part;
        }
        true
    }

    /// Writes to what a VMO shows; a device's memory keeps nothing.
    fn write_memory(&mut self, vmo: Koid, offset: u64, bytes: &[u8]) {
        let start = self.vmo(vmo).window() + offset;
        if self.memory_of(vmo).kind != Kind::Physical {
            self.memory_mut(vmo).write(start, bytes);
        }
    }
}

/// What the contract leaves open.
impl Model {
    /// Tells whether a part of the VMO and a buffer are the same memory.
    pub(crate) fn overlaps(&self, vmo: u64, offset: u64, len: u64, buffer: u64, access: Access) -> bool {
        let vmo = u32::try_from(vmo).ok().and_then(|raw| self.handles.get(&raw)).map(|handle| handle.object);
        let (Some(Object::Vmo(vmo)), Some(end)) = (vmo, offset.checked_add(len)) else { return false };
        let (memory, window) = (self.vmo(vmo).memory, self.vmo(vmo).window());
        self.buffer_pages(buffer, len, access).into_iter().any(|(other, number)| {
            let is_met = number.saturating_add(1).saturating_mul(P) > window.saturating_add(offset)
                && number * P < window.saturating_add(end);
            other == memory && is_met
        })
    }

    /// Tells whether writing to the buffer takes memory.
    pub(crate) fn grows(&self, buffer: u64, len: u64) -> bool {
        let is_own = |(memory, number): &(u64, u64)| {
            self.memories[memory].pages.get(number).is_some_and(|page| std::rc::Rc::strong_count(page) == 1)
        };
        !self.buffer_pages(buffer, len, Access::Write).iter().all(is_own)
    }

    /// Returns the memories and numbers of the pages that a buffer lies in, up to one that is not there.
    fn buffer_pages(&self, buffer: u64, len: u64, access: Access) -> Vec<(u64, u64)> {
        let mut pages = Vec::new();
        let end = buffer.saturating_add(len);
        let mut at = buffer;
        while at < end {
            let Some((vmo, offset)) = self.locate(at, access) else { break };
            pages.push((self.vmo(vmo).memory, (self.vmo(vmo).window() + offset) / P));
            at = (at + 1).next_multiple_of(P);
        }
        pages
    }
}
