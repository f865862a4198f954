//! What is wrong with invalidations.

use super::Row;
use crate::boots::{CODE, HOLE, MANY_PAGES, RIGHTS, STAGE_1, TWO_CPUS, UNMAP, WHOLE_BLOCK};

pub(super) const ROWS: &[Row] = &[
    Row::new(1, "no TLBI is issued").model().oracle(&["R8", "R50"]).live(UNMAP).guest(UNMAP),
    Row::new(2, "no VMALLE1IS after IPAS2E1IS").model().oracle(&["R11"]).live(UNMAP).guest(UNMAP),
    Row::new(4, "no DSB between IPAS2E1IS and VMALLE1IS").model().oracle(&["R11"]).live(UNMAP),
    Row::new(5, "no DSB before the TLBI").model().oracle(&["R9"]).live(UNMAP),
    Row::new(6, "DSB ISHST instead of ISH after a TLBI").model().oracle(&["R10"]).live(UNMAP),
    Row::new(7, "DSB NSH instead of ISH after a broadcast TLBI").model().oracle(&["R10"]).live(TWO_CPUS),
    Row::new(9, "the TLBI goes before the store that it is for").model().oracle(&["R9"]).live(HOLE),
    Row::new(10, "IPAS2E1 and VMALLE1 reach this CPU only").model().oracle(&["R10"]).live(TWO_CPUS).guest(TWO_CPUS),
    Row::new(11, "VMALLS12E1 reaches this CPU only").model().oracle(&["R10"]),
    Row::new(12, "ALLE1 at a rollover of VMIDs reaches this CPU only").model().oracle(&["R27"]),
    Row::new(14, "no ISB between the write of VTTBR_EL2 and the TLBI").model().oracle(&["R27b"]),
    Row::new(15, "VTTBR_EL2 keeps another VM's value after a TLBI").model().oracle(&["R27b"]),
    Row::new(16, "the operand of a TLBI by IPA is not shifted").model().oracle(&["R8"]).live(UNMAP).guest(STAGE_1),
    Row::new(17, "the last page of a range is not invalidated").model().oracle(&["R8", "R25"]).live(UNMAP),
    Row::new(19, "SCALE of a range operation is one too low").model().oracle(&["R25"]).live(MANY_PAGES),
    Row::new(20, "NUM of a range operation is one too low").model().oracle(&["R25"]).live(MANY_PAGES),
    Row::new(21, "TG of a range operation is 0").model().oracle(&["R25"]).live(MANY_PAGES),
    Row::new(22, "a range operation's units are rounded down").model().oracle(&["R25"]).live(MANY_PAGES),
    Row::new(24, "TTL names level 3 for a block").model().oracle(&["R16"]).live(WHOLE_BLOCK),
    Row::new(25, "bits of the IPA get into TTL").model().oracle(&["R16"]).live(UNMAP),
    Row::new(26, "a removed table is invalidated with IPAS2LE1IS").model().oracle(&["R15"]).live(UNMAP),
    Row::new(27, "one IPAS2E1IS for a removed table with pages in it").model().oracle(&["R15"]),
    Row::absent(
        30,
        "a guest's TLBI with HCR_EL2.{E2H,TGE} set",
        "EL2 never sets E2H or TGE: HCR_EL2 is written whole, once, in arch/guest.rs",
    ),
    Row::new(32, "what more than four parts broke is dropped").model().oracle(&["R50"]),
    Row::absent(
        34,
        "a deferred invalidation is lost when an operation is interrupted",
        "none is interrupted: what an operation broke is invalidated before it returns (139 loses it within one)",
    ),
    Row::new(139, "an invalidation in the midst of an operation is lost").model().oracle(&["R8"]),
    Row::new(111, "no IPAS2E1IS before VMALLE1IS").model().oracle(&["R8"]).live(UNMAP).guest(STAGE_1),
    Row::new(112, "no DSB after the last TLBI").model().oracle(&["R10"]).live(UNMAP),
    Row::new(113, "a TLBI for the VMID of another VM").model().oracle(&["R8", "R27b"]),
    Row::new(114, "a range begins one page late").model().oracle(&["R8", "R25"]).live(UNMAP),
    Row::new(115, "range operations without FEAT_TLBIRANGE").model().oracle(&["R25"]),
    Row::new(116, "DSB NSHST instead of ISHST before a broadcast TLBI").model().oracle(&["R9"]).live(TWO_CPUS),
    Row::new(71, "execution is taken away without a TLBI").model().oracle(&["R13"]).live(CODE).guest(CODE),
    Row::new(70, "stores are forbidden without a TLBI").model().oracle(&["R13"]).live(RIGHTS).guest(RIGHTS),
];
