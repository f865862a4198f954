//! The kinds of events, as the page tells them apart.

use oracle::Event;
use serde::Serialize;
use vmsa::{ExceptionClass, Syndrome};

/// What an event is, as far as a colour can say it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Store,
    Update,
    Tlbi,
    Barrier,
    Fault,
    Guest,
    Frame,
    Cache,
    Register,
    Lock,
    Mark,
}

/// A kind's entry in the legend.
#[derive(Debug, Serialize)]
pub(super) struct Legend {
    name: &'static str,
    letter: &'static str,
    meaning: &'static str,
}

impl Kind {
    /// The legend, in the order of the kinds.
    pub(super) const LEGEND: [Legend; 11] = [
        legend("store", "W", "A descriptor is written to a translation table."),
        legend("walker's update", "U", "The table walk itself sets a descriptor's access flag or dirty state."),
        legend("TLBI", "T", "An invalidation of TLB entries is issued; it is complete after a DSB."),
        legend("barrier", "B", "A DSB, DMB or ISB: it orders or completes what its CPU did before."),
        legend("fault", "F", "An instruction fetch, load or store of the guest traps to EL2."),
        legend("guest in, out", "G", "ERET enters the guest; an exception other than a fault leaves it."),
        legend("frames", "A", "Frames are allocated, zeroed, given an owner, or freed."),
        legend("caches", "C", "Data or instruction caches are maintained."),
        legend("register", "R", "A system register is written; it takes effect at the next ISB, ERET or exception."),
        legend("lock", "L", "A lock is taken or dropped."),
        legend("mark", "M", "An operation begins or ends, or a VM is bound to its tables."),
    ];

    /// Returns the kind of an event.
    pub(super) fn of(event: &Event) -> Self {
        match event {
            Event::Store { .. } => Self::Store,
            Event::HardwareUpdate { .. } => Self::Update,
            Event::Tlbi(..) => Self::Tlbi,
            Event::Isb | Event::Dsb { .. } | Event::Dmb { .. } => Self::Barrier,
            Event::Exc { esr, .. } => Self::of_exception(Syndrome(*esr)),
            Event::Eret { .. } => Self::Guest,
            Event::Alloc(..) | Event::Zero(_) | Event::Owner { .. } | Event::Free(_) => Self::Frame,
            Event::Dc { .. } | Event::Ic { .. } => Self::Cache,
            Event::Msr(..) => Self::Register,
            Event::Lock { .. } | Event::Unlock { .. } => Self::Lock,
            Event::Begin { .. } | Event::End { .. } | Event::Vm { .. } => Self::Mark,
        }
    }

    fn of_exception(syndrome: Syndrome) -> Self {
        match syndrome.class() {
            ExceptionClass::InstructionAbort | ExceptionClass::DataAbort => Self::Fault,
            _ => Self::Guest,
        }
    }
}

const fn legend(name: &'static str, letter: &'static str, meaning: &'static str) -> Legend {
    Legend { name, letter, meaning }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_is_a_fault_and_a_call_is_none() {
        let exception = |esr| Event::Exc { vm: 1, vcpu: 0, esr, far: 0, hpfar: 0 };
        assert_eq!(Kind::of(&exception(0x9300_0007)), Kind::Fault, "a data abort");
        assert_eq!(Kind::of(&exception(0x8200_0007)), Kind::Fault, "an instruction abort");
        assert_eq!(Kind::of(&exception(0x5a00_0000)), Kind::Guest, "HVC");
    }

    #[test]
    fn each_kind_has_its_own_letter_and_the_right_place_in_the_legend() {
        let letters: std::collections::BTreeSet<_> = Kind::LEGEND.iter().map(|legend| legend.letter).collect();
        assert_eq!(letters.len(), Kind::LEGEND.len());
        for (kind, name) in [(Kind::Store, "store"), (Kind::Guest, "guest in, out"), (Kind::Mark, "mark")] {
            assert_eq!(Kind::LEGEND[kind as usize].name, name);
        }
    }
}
