//! Programs as words, for the guest that replays them and for the host that makes them.
//!
//! An entry is a head and its operands, each a word. A head holds a kind in bits 0 to 7, and in bits 32 and on the number of the
//! step that it is of. An *argument* is two words: what it is counted from (0: nothing; else 1 plus the number of the step that
//! gave a handle), and what is added.
//!
//! | kind | operands |
//! | --- | --- |
//! | CALL | the call's number in bits 8 to 15 of the head, how many arguments in 16 to 23, how many results in 24 to 31; the arguments; the status; for each result whether it is free, and its value or, where it is free, the step that gives it |
//! | LOAD | address, whether it is done, the value |
//! | STORE | address, whether it is done, the value |
//! | FETCH | address, whether it is done |
//! | HANDLES | address, two arguments, of which the low halves are stored |
//! | KOID | address of a koid, the number by which the program knows it, which is stored in its place |
//! | ADDRESS | address of a physical address, in whose place 0 is stored |
//! | DIGEST | address of a page, the [`digest`] of its words |
//! | NEXT | the number of the program that begins now: nothing that was given counts any more |
//! | END | |

/// Where a program lies: in RAM, above the guest and below the device tree.
pub(super) const PROGRAM: u64 = 0x4200_0000;

/// The most steps that can give handles in a program, by number.
pub(super) const STEPS: usize = 256;
/// The most objects of a program that have a koid.
pub(super) const KOIDS: usize = 1024;

/// The end of all programs.
pub(super) const END: u8 = 0;
/// A call.
pub(super) const CALL: u8 = 1;
/// A load of eight bytes.
pub(super) const LOAD: u8 = 2;
/// A store of eight bytes.
pub(super) const STORE: u8 = 3;
/// An instruction is fetched, and is a RET.
pub(super) const FETCH: u8 = 4;
/// Two handles are stored.
pub(super) const HANDLES: u8 = 5;
/// A koid is looked at.
pub(super) const KOID: u8 = 6;
/// A page is looked at.
pub(super) const DIGEST: u8 = 7;
/// A physical address is looked at.
pub(super) const ADDRESS: u8 = 9;
/// A program begins.
pub(super) const NEXT: u8 = 8;

/// Returns the digest with another word.
pub(super) const fn digest(so_far: u64, word: u64) -> u64 {
    (so_far.rotate_left(7) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
