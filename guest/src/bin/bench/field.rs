//! Where works take place: memory that is mapped in one shape or the other.

use zx::{PAGE_SIZE, Result, VmOptions, Vmar, VmarOp, Vmo};

use crate::Bench;

/// What one block entry of level 2 maps.
pub(crate) const BLOCK_BYTES: u64 = 2 << 20;

/// Where the works take place: a round IPA, far from the RAM.
pub(crate) const BASE: u64 = 16 << 30;

/// How much room there is.
pub(crate) const ROOM_BYTES: u64 = 4 << 30;

const READ_WRITE: VmOptions = VmOptions::PERM_READ.union(VmOptions::PERM_WRITE);

/// How the tables show a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// Page by page: addresses and frames are never aligned alike, so that neither a block nor a contiguous group can show them.
    Pages,
    /// As the addresses allow, which begin at a multiple of 2 MiB.
    Aligned,
}

/// A VMO, mapped whole in a region of its own. Beside it lies another mapping, of one page, so that tables stay when the field
/// goes.
pub(crate) struct Field {
    pub(crate) region: Vmar,
    pub(crate) vmo: Vmo,
    pub(crate) base: u64,
    pub(crate) len_bytes: u64,
}

/// Returns a region for all that a work does.
pub(crate) fn region(bench: &Bench) -> Result<Vmar> {
    let options = VmOptions::CAN_MAP_ACCESS | VmOptions::CAN_MAP_SPECIFIC | VmOptions::SPECIFIC;
    Ok(bench.root.allocate(options, BASE, ROOM_BYTES)?.0)
}

impl Field {
    /// Maps a new VMO, without a page of it.
    pub(crate) fn new(bench: &Bench, shape: Shape, len_bytes: u64) -> Result<Self> {
        let (region, vmo) = (region(bench)?, Vmo::create(len_bytes)?);
        let offset = match shape {
            Shape::Pages => PAGE_SIZE,
            Shape::Aligned => 0,
        };
        let options = READ_WRITE | VmOptions::SPECIFIC;
        let base = region.map(options, offset, &vmo, 0, len_bytes)?;
        let neighbour = region.map(options, offset + len_bytes, &Vmo::create(PAGE_SIZE)?, 0, PAGE_SIZE)?;
        region.op_range(VmarOp::Commit, neighbour, PAGE_SIZE)?;
        Ok(Self { region, vmo, base, len_bytes })
    }

    /// As [`Field::new`], with all its pages, which the tables show.
    pub(crate) fn filled(bench: &Bench, shape: Shape, len_bytes: u64) -> Result<Self> {
        let field = Self::new(bench, shape, len_bytes)?;
        field.op_range(VmarOp::Commit)?;
        Ok(field)
    }

    /// Does something to all its pages.
    pub(crate) fn op_range(&self, op: VmarOp) -> Result<()> {
        self.region.op_range(op, self.base, self.len_bytes)
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // A region that cannot be destroyed is in the next one's way, which says so.
        let _ = self.region.destroy();
    }
}
