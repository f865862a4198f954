//! What is wrong with locks, with the seam at which the oracle listens, and with the oracle itself.

use super::Row;
use crate::boots::UNMAP;

pub(super) const ROWS: &[Row] = &[
    Row::new(29, "nXS forms of TLBI and DSB").oracle(&["R24"]),
    Row::new(31, "invalidations of EL2's own translation").model().oracle(&["R49", "R8"]).live(UNMAP).guest(UNMAP),
    Row::new(104, "tables are written without their lock").oracle(&["R41"]),
    Row::new(105, "a descriptor is written back that is out of date").oracle(&["R43", "R22"]),
    Row::absent(
        106,
        "a reader without a lock follows a freed table",
        "every walk by software is under its tree's lock: a `Stage2` is reached through a `Mutex` only (vm/src/system.rs)",
    ),
    Row::new(107, "stores that the oracle does not hear of").oracle(&["R53"]),
    Row::new(109, "DSB ISH is reported, and DSB ISHST executed").model(),
    Row::new(110, "the oracle has no room, and does not say so").oracle(&["R53"]),
];
