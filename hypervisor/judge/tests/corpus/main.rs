//! What a judge of traces must accept and what it must refuse, case by case, derived from the architecture and not from
//! the judge.
//!
//! A case is a small program for the memory of a VM, written as a [`scene::Scene`], and a verdict: it passes, or it fails by one
//! of a few rules. [`cases`] are written by hand, at least one of each kind for a rule; [`generated`] tries whole products of
//! steps against a reference that says in a few lines which of them suffice; [`programs`] are long random programs that are
//! right, and the same with one step spoiled.
//!
//! Some rules speak of what no trace shows, and have no failing case:
//!
//! - R42 (dropping the lock before the invalidation): traces are judged by the relaxed reading, in which it is legal; what can
//!   go wrong by it is R33a's.
//! - R44 (readers without a lock): a read is no event, so nobody knows when the last one is done.
//! - R49 (EL2's own tables): nothing says which tables they are. What is seen is that its TLBIs do nothing for a guest.

mod cases;
mod documents;
mod format;
mod generated;
mod hidden;
mod programs;
mod scene;
