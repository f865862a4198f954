//! What is wrong with frames: who has them, and what is in them.

use super::Row;
use crate::boots::{DECOMMIT, DECOMMIT_TWO, FRESH, UNMAP};

pub(super) const ROWS: &[Row] = &[
    Row::new(57, "pages are freed before the TLBI").model().oracle(&["R33"]).live(DECOMMIT),
    Row::new(59, "a page is not zeroed").model().oracle(&["R34"]).live(FRESH).guest(FRESH),
    Row::new(60, "the first half of a chunk is zeroed").model().oracle(&["R34"]),
    Row::new(61, "a page is mapped by a plain store").oracle(&["R29a"]).live(UNMAP),
    Row::new(62, "a fault leads to another VM's page").model().oracle(&["R35"]),
    Row::new(64, "a fault leads to a table").model().oracle(&["R30"]).live(UNMAP),
    Row::new(65, "a VMO that nobody uses keeps its frames").model(),
    Row::new(66, "no clean to the point of coherency").oracle(&["R36", "R37"]).live(UNMAP.on("cortex-a57")),
    Row::new(67, "no invalidation before memory of a guest is read").oracle(&["R36"]).live(DECOMMIT.on("cortex-a57")),
    Row::new(69, "MemAttr as without FEAT_S2FWB").model().oracle(&["R31", "R36"]).live(UNMAP),
    Row::new(121, "pages are freed that are mapped").model().oracle(&["R35"]).live(DECOMMIT).guest(DECOMMIT_TWO),
    Row::new(123, "no invalidation of instructions").oracle(&["R37"]).live(crate::boots::CODE.on("cortex-a57")),
];
