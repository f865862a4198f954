//! Where the program itself lies.

use crate::arch;
use core::ops::Range;

/// Returns the addresses of the program: code, data, and the stack at its end. They are whole pages.
pub fn range() -> Range<u64> {
    let (start, end) = arch::image_bounds();
    start..end.next_multiple_of(abi::PAGE_SIZE)
}
