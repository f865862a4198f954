//! What is wrong with how faults are read, and with what calls do.

use super::Row;
use crate::boots::{ARGUMENTS, HOLE, NO_LENGTH, NOTHING_THERE, TAIL, UNMAP, WRAPPING_LENGTH};

pub(super) const ROWS: &[Row] = &[
    Row::new(91, "HPFAR_EL2 is shifted wrongly").model().guest(UNMAP),
    Row::new(92, "HPFAR_EL2 is trusted after a permission fault").model(),
    Row::new(94, "a stage-1 walk's fault is taken for one at FAR_EL2's offset").model(),
    Row::new(95, "a stage-1 walk's permission fault is taken for a load").model(),
    Row::absent(
        96,
        "emulation of a device for an access without a syndrome",
        "there is no emulation: what is no memory aborts (vm/src/fault.rs)",
    ),
    Row::new(97, "vmar_unmap of nothing returns INVALID_ARGS").model().guest(NOTHING_THERE),
    Row::new(99, "vmar_unmap takes a misaligned address").model().guest(ARGUMENTS),
    Row::new(100, "vmar_unmap takes the page past its range too").model().oracle(&["R51"]).live(HOLE).guest(UNMAP),
    Row::new(101, "vmar_protect changes the page past its range too").model().oracle(&["R51"]).live(TAIL),
    Row::new(102, "an unmap that begins with a hole stops there")
        .model()
        .oracle(&["R50", "R35"])
        .live(HOLE)
        .guest(HOLE),
    Row::new(135, "FAR_EL2's offset is left out").model(),
    Row::new(137, "a length of 0 is taken for a page").model().guest(NO_LENGTH),
    Row::new(138, "a length that wraps is taken for a page").model().guest(WRAPPING_LENGTH),
];
