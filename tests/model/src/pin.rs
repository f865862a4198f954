//! Pins: pages that a device may reach stay where they are.

use abi::{PinOptions, Rights, Status};

use crate::arguments::Arguments;
use crate::handles::{Handle, Object};
use crate::memory::Kind;
use crate::{Access, Koid, Model, P, Reply, Result, ensure};

/// Pages that stay.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(crate) vmo: Koid,
    pub(crate) memory: u64,
    /// The number of the first page of the memory, and that past the last.
    pub(crate) first: u64,
    pub(crate) end: u64,
}

/// The rights of a BTI's first handle.
const BTI: Rights = Rights::TRANSFER
    .union(Rights::DUPLICATE)
    .union(Rights::INSPECT)
    .union(Rights::READ)
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::GET_PROPERTY)
    .union(Rights::SET_PROPERTY);
/// The rights of a pin's first handle.
const PMT: Rights = Rights::TRANSFER.union(Rights::INSPECT);

impl Model {
    /// bti_create(resource).
    pub(crate) fn bti_create(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let handle = self.handle(args, 0)?;
        ensure(matches!(handle.object, Object::Resource(_)), Status::WRONG_TYPE)?;
        let koid = self.new_koid();
        Ok(Reply::with(&[self.give(Object::Bti(koid), BTI)]))
    }

    /// bti_pin(bti, options, vmo, offset, size, buffer of addresses, count of addresses).
    pub(crate) fn bti_pin(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (offset, size, buffer, count) = (args.get(3), args.get(4), args.get(5), args.get(6));
        let bti = self.handle(args, 0)?;
        ensure(matches!(bti.object, Object::Bti(_)), Status::WRONG_TYPE)?;
        bti.demand(Rights::MAP)?;
        let (vmo, handle) = self.vmo_handle(args, 2)?;
        let options = pin_options(handle, args)?;
        ensure(offset.is_multiple_of(P) && size.is_multiple_of(P) && size > 0, Status::INVALID_ARGS)?;
        let is_compressed = options.contains(PinOptions::COMPRESS);
        let is_contiguous = options.contains(PinOptions::CONTIGUOUS);
        ensure(!(is_compressed && is_contiguous), Status::INVALID_ARGS)?;
        let wanted = if is_contiguous { 1 } else { size / P };
        ensure(count == wanted, Status::INVALID_ARGS)?;
        let kind = self.memory_of(vmo).kind;
        ensure(!is_contiguous || kind != Kind::Paged, Status::INVALID_ARGS)?;
        self.ensure_inside(vmo, offset, size)?;
        self.ensure_buffer(buffer, 8 * count, Access::Write)?;
        let id = self.vmo(vmo).memory;
        let first = (self.vmo(vmo).window() + offset) / P;
        let end = first + size / P;
        if kind != Kind::Physical {
            self.memory_mut(vmo).commit(first, end);
        }
        self.write_buffer(buffer, 8 * count, &vec![0; 8 * count as usize])?;
        for number in 0..count {
            let page = self.memories[&id].view(first + number);
            self.answer.addresses.push((buffer + 8 * number, page));
        }
        let koid = self.new_koid();
        self.pins.insert(koid, Pin { vmo, memory: id, first, end });
        Ok(Reply::with(&[self.give(Object::Pmt(koid), PMT)]))
    }

    /// pmt_unpin(pmt): closes the handle.
    pub(crate) fn pmt_unpin(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let handle = self.handle(args, 0)?;
        ensure(matches!(handle.object, Object::Pmt(_)), Status::WRONG_TYPE)?;
        self.take_handle(args.handle(0)?)?;
        Ok(Reply::DONE)
    }
}

/// Checks the handle, the options, and what they need of the handle.
fn pin_options(handle: Handle, args: Arguments<'_>) -> Result<PinOptions> {
    handle.demand(Rights::MAP)?;
    let options = PinOptions::from_bits_retain(args.word(1)?);
    let reads = PinOptions::PERM_READ | PinOptions::PERM_EXECUTE;
    let is_known = PinOptions::all().contains(options);
    ensure(is_known && options.intersects(reads | PinOptions::PERM_WRITE), Status::INVALID_ARGS)?;
    for (option, right) in [(reads, Rights::READ), (PinOptions::PERM_WRITE, Rights::WRITE)] {
        ensure(!options.intersects(option) || handle.rights.contains(right), Status::ACCESS_DENIED)?;
    }
    Ok(options)
}
