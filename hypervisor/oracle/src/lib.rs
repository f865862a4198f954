//! The Arm rules, judging what is done to stage-2 tables.
//!
//! The oracle does not follow one entry through one protocol. It keeps the set of facts that a TLB may still hold although the
//! tables say otherwise, and fails when software relies on one of them being gone: a valid store over it, the frame that it
//! leads to being given away, an operation that says it is done, a VMID that names another tree. So every order of steps that
//! the architecture allows is accepted, and no other. `RULES.md` has the rules by number, `TRACE.md` the events as text.
//!
//! - `event` is what it is told, `text` the same as lines; `rule` is what it tells, `violation` where, `report` how it came so.
//! - `fact` is one thing that TLBs may hold and its way out, `facts` all of them; `invalidate` is what TLBI and DSB do to them,
//!   `operand` what a TLBI names.
//! - `store` judges a store, `tables` what it leads to, `groups` contiguous entries, `descriptor` what bits mean.
//! - `note` is what is known of a frame, `live` where a machine that runs keeps that, `frames` what becomes of frames.
//! - `tree` is the trees and the VMIDs that TLBs hold them under, `registers` how CPUs come to use them, `course` operations,
//!   guests and locks, `cpu` what is known of a CPU.
//!
//! It needs bounded memory: a [`Note`] for each frame and room for facts. When that is short it forgets the least of what nobody
//! can use; when that does not help it says so (R53), and does not go silent.
#![no_std]
#![forbid(unsafe_code)]

mod course;
mod cpu;
mod descriptor;
mod event;
mod fact;
mod facts;
mod frames;
mod groups;
mod history;
mod invalidate;
mod live;
mod note;
mod operand;
mod operation;
mod oracle;
mod registers;
mod report;
mod rule;
mod store;
mod syndrome;
mod tables;
pub mod text;
mod tree;
mod violation;

use vmsa::Hpa;

pub use cpu::MOST_CPUS;
pub use event::{Accesses, DcOp, Domain, Event, FrameKind, Frames, Machine, Order, Register, Target, TlbiOp, Work};
pub use facts::{Held, Pool};
pub use live::LiveNotes;
pub use note::{Note, Notes, OutOfRoom};
pub use oracle::Oracle;
pub use report::Explained;
pub use rule::{Rule, Severity};
pub use violation::{Finding, Place};

/// Returns the entries of a table.
fn slots(table: Hpa) -> impl Iterator<Item = Hpa> {
    (0..512).map(move |index| table.add(8 * index))
}

/// Returns what an entry adds to its table's sum: nothing that the walk may change.
const fn weight(slot: Hpa, raw: u64) -> u64 {
    // By a factor of its own, so that entries that change places change the sum; an odd one, which loses no bit.
    descriptor::steady(raw).wrapping_mul(slot.0.wrapping_add(1))
}
