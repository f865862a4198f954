//! What is wrong with access flags and dirty states, and with permissions that were added.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row::new(72, "pages are made clean without a TLBI").model().oracle(&["R23"]),
    Row::new(74, "a live entry is written by a plain store").model().oracle(&["R22"]).live(crate::boots::RIGHTS),
    Row::new(75, "access flags are cleared without a TLBI").model().oracle(&["R20"]),
    Row::new(77, "new leaves have no access flag").model().oracle(&["R31"]).live(crate::boots::UNMAP.on("cortex-a57")),
    Row::new(79, "a permission fault on what is allowed is reported").model(),
    Row::new(125, "a flag is set without a DSB").oracle(&["R28"]),
];
