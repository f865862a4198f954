//! What is wrong with VMIDs and system registers.

use super::Row;
use crate::boots::{END_OF_40_BITS, TWO_CPUS, UNMAP};

pub(super) const ROWS: &[Row] = &[
    Row::new(76, "VTCR_EL2.HA on a CPU without FEAT_HAFDBS").oracle(&["R23", "R45"]).live(UNMAP.on("cortex-a57")),
    Row::new(80, "VMIDs are given anew without a TLBI").model().oracle(&["R27"]),
    Row::new(81, "a rollover of VMIDs is for this CPU only").model().oracle(&["R27"]),
    Row::new(82, "two VMs get the same VMID").model().oracle(&["R27"]),
    Row::new(84, "VTCR_EL2 differs between CPUs").only_live(&["R26"], TWO_CPUS),
    Row::new(85, "T0SZ and SL0 do not go together").oracle(&["R45"]).live(UNMAP).guest(UNMAP),
    Row::new(86, "of a concatenated root one table is taken").model().oracle(&["R46"]).live(END_OF_40_BITS),
    Row::new(87, "VTCR_EL2.PS is more than the CPU has").only_live(&["R45"], UNMAP.on("cortex-a57")),
    Row::absent(
        89,
        "no local invalidation when two vCPUs of a VM alternate on a CPU",
        "a vCPU never leaves its CPU, and no CPU has two (arch/guest.rs)",
    ),
    Row::new(90, "no DSB after entries are made").model().oracle(&["R28"]).live(UNMAP),
    Row::new(126, "VMIDs of 16 bits on a CPU with 8").model().oracle(&["R27", "R27a"]),
];
