//! What is wrong with how entries become others, and with the shape of trees.

use super::Row;
use crate::boots::{BLOCKS, BLOCKS_BROKEN, BLOCKS_MERGED, BLOCKS_UNCACHED, GROUPS, LARGEST_BLOCK, NEIGHBOURS, UNMAP};

pub(super) const ROWS: &[Row] = &[
    Row::new(35, "a table is stored over a live block").model().oracle(&["R5"]).live(BLOCKS_BROKEN),
    Row::new(36, "a page becomes another without a break").model().oracle(&["R1"]),
    Row::new(37, "Normal memory becomes Device in place").model().oracle(&["R2"]),
    Row::new(39, "a block is stored over a live table").model().oracle(&["R5"]).live(BLOCKS_MERGED),
    Row::new(40, "FEAT_BBM is taken for level 2 on every machine")
        .model()
        .oracle(&["R5"])
        .live(BLOCKS.on("cortex-a57")),
    Row::new(41, "nT is not set while a block changes its size").model().oracle(&["R5a"]).live(BLOCKS_UNCACHED),
    Row::new(42, "a split takes stores from what is beside").model().oracle(&["R51", "R5"]).live(BLOCKS).guest(BLOCKS),
    // The table says something else than the block whose place it takes; and what it says are tables, in a guest's pages.
    Row::new(44, "a split makes pages of 1 GiB in one table")
        .model()
        .oracle(&["R5", "R30", "R31", "R51"])
        .live(LARGEST_BLOCK),
    Row::new(45, "a table is linked before it is filled").model().oracle(&["R29"]).live(BLOCKS),
    Row::new(46, "a table is linked by a plain store").model().oracle(&["R29"]).live(UNMAP),
    Row::new(47, "a fault that was served meanwhile is reported").model(),
    Row::new(49, "empty tables are never given back").model(),
    Row::new(50, "a table is given back before the TLBI").model().oracle(&["R32"]).live(UNMAP),
    Row::new(51, "a table is linked at two places").model().oracle(&["R30"]).live(UNMAP),
    Row::new(52, "a page is written as 0b01").model().oracle(&["R31"]).live(UNMAP).guest(UNMAP),
    Row::new(54, "one member of a group is unmapped").model().oracle(&["R17", "R18"]).live(GROUPS).guest(GROUPS),
    Row::new(55, "of a group only the first member is invalidated").model().oracle(&["R19"]),
    Row::new(56, "15 members of a group are protected").model().oracle(&["R17", "R18"]).live(GROUPS).guest(GROUPS),
    Row::new(117, "the hint is set and taken in place below level 2 of FEAT_BBM").model().oracle(&["R18"]),
    Row::new(118, "a split leads everything one page further")
        .model()
        .oracle(&["R51", "R5b", "R5", "R1"])
        .live(BLOCKS)
        .guest(NEIGHBOURS),
    Row::new(119, "pages that differ are merged").model().oracle(&["R50", "R51"]),
    Row::new(120, "groups are made of memory that is not aligned").model().oracle(&["R17"]),
    Row::new(122, "Normal memory becomes non-cacheable in place").model().oracle(&["R3"]),
    Row::new(129, "a map that fails leaves what it prepared").model(),
    Row::new(131, "a split takes the access flags").model().oracle(&["R51", "R31"]),
    Row::new(132, "a split makes clean").model().oracle(&["R51"]),
    Row::new(133, "a split allows execution").model().oracle(&["R51", "R5"]),
    Row::new(134, "a split forgets that a page is shared").model().oracle(&["R51"]),
    Row::new(136, "nT stays set").model().oracle(&["R50"]),
];
