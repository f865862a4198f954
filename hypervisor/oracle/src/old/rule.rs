//! The rules, by number. Numbers are the project's own; each names the place in the Arm Architecture Reference Manual (DDI 0487)
//! that it comes from.

use core::fmt;

macro_rules! rules {
    ($($name:ident = $number:literal $text:literal,)*) => {
        /// A rule of the architecture, or of this project where it is stricter.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Rule {
            $(#[doc = $text] $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the rule's number.
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// Returns the rule in a sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

rules! {
    OutputChange = 1 "A valid entry is not replaced by one with another output address: it is broken and invalidated first (D8.14, break-before-make).",
    TypeChange = 2 "A valid entry is not replaced by one of another memory type: it is broken and invalidated first (D8.14, break-before-make).",
    SizeChange = 5 "A block is not replaced by a table, nor a table by anything: it is broken and invalidated first (D8.14, break-before-make).",
    Sequence = 8 "What an entry was is invalidated, stage 2 and then stage 1, before anything relies on it being gone (D8.14, TLB maintenance).",
    StoreFirst = 9 "A DSB makes the store visible to table walks before an invalidation counts (D8.14, ordering of TLB maintenance).",
    Completion = 10 "An invalidation is complete only after a DSB of loads and stores on the same CPU, as wide as it is itself (D8.14, completion).",
    CombinedLast = 11 "An invalidation by IPA leaves combined entries: stage 1 is invalidated after the DSB that completed it (D8.14, TLB maintenance).",
    Group = 18 "The members of a contiguous group change together: all are broken and invalidated first (D8.5, Contiguous bit).",
    Publication = 28 "A DSB makes new entries visible before anything relies on them (B2.3, ordering of table walks).",
    ChildFirst = 29 "A table's entries are written, and ordered, before the entry that links it (B2.3, ordering of table walks).",
    OneParent = 30 "A table is linked at one place and level, and no page of a guest.",
    WellFormed = 31 "A descriptor means something at its level (D8.3).",
    TableLifetime = 32 "A table is not used for anything else while a walk may still go through it.",
    PageLifetime = 33 "A page is not used for anything else while a TLB may still lead to it.",
    Contents = 34 "A page is wholly overwritten before another guest can see it.",
    Memory = 53 "The oracle follows every store: what it saw last is what is there, and it has room for what it must remember.",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{}", self.number())
    }
}
