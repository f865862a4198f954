//! Where a new region goes (semantics 3.1, steps 7 to 16, which `vmar_map` shares).

use abi::{Alignment, Call, Status, VmOptions};

use crate::handles::Object;
use crate::shape::Perms;
use crate::{Koid, Model, P, Result, ensure};

/// The bounds within which a place is looked for.
struct Search {
    low: u64,
    high: u64,
    size: u64,
    align: u64,
}

impl Model {
    /// Returns where the region goes. A place that is free is what the implementation offers in result `number`.
    pub(crate) fn place(
        &mut self,
        parent: Koid,
        options: VmOptions,
        offset: u64,
        size: u64,
        access: Perms,
        number: usize,
    ) -> Result<u64> {
        let vmar = self.vmar(parent);
        let (base, span) = (vmar.base, vmar.size);
        let is_specific = options.intersects(VmOptions::SPECIFIC | VmOptions::SPECIFIC_OVERWRITE);
        let is_limit = options.contains(VmOptions::OFFSET_IS_UPPER_LIMIT);
        ensure(vmar.is_alive, Status::BAD_STATE)?; // 7
        ensure(size > 0, Status::INVALID_ARGS)?; // 8
        ensure(vmar.can_map.contains(access), Status::ACCESS_DENIED)?; // 9
        ensure(!(is_specific && is_limit), Status::INVALID_ARGS)?; // 10
        ensure(is_specific || is_limit || offset == 0, Status::INVALID_ARGS)?; // 11
        ensure(offset.is_multiple_of(P), Status::INVALID_ARGS)?; // 12
        ensure(vmar.can_map_specific || !is_specific && !is_limit, Status::ACCESS_DENIED)?; // 13
        let fits = match is_limit {
            true => offset <= span && size <= span && size <= offset,
            false => offset < span && size <= span - offset,
        };
        ensure(fits, Status::INVALID_ARGS)?; // 14
        let align = options.alignment().unwrap_or(Alignment::PAGE).bytes();
        if is_specific {
            let place = base + offset;
            ensure(place.is_multiple_of(align), Status::INVALID_ARGS)?; // 15
            self.check_specific(parent, options, place, place + size)?;
            return Ok(place);
        }
        let high = base + if is_limit { offset } else { span };
        self.choose(parent, &Search { low: base, high, size, align }, number) // 16
    }

    /// Tells whether the call may choose among several places for a region.
    pub fn may_choose(&self, call: Call, values: &[u64; 8]) -> bool {
        let handle = u32::try_from(values[0]).ok().and_then(|raw| self.handles.get(&raw));
        let (Some(Object::Vmar(parent)), Some(size)) = (
            handle.map(|handle| handle.object),
            values[if call == Call::VmarMap { 5 } else { 3 }].checked_next_multiple_of(P),
        ) else {
            return false;
        };
        let options = VmOptions::from_bits_retain(values[1] as u32);
        let is_specific = options.intersects(VmOptions::SPECIFIC | VmOptions::SPECIFIC_OVERWRITE);
        if !matches!(call, Call::VmarMap | Call::VmarAllocate) || is_specific {
            return false;
        }
        let (base, span) = (self.vmar(parent).base, self.vmar(parent).size);
        let is_limit = options.contains(VmOptions::OFFSET_IS_UPPER_LIMIT);
        let high = base + if is_limit { values[2].min(span) } else { span };
        let align = options.alignment().unwrap_or(Alignment::PAGE).bytes();
        let gaps = self.gaps(parent, &Search { low: base, high, size, align });
        gaps.len() > 1 || gaps.first().is_some_and(|(first, last)| first != last)
    }

    /// SPECIFIC: nothing is there. SPECIFIC_OVERWRITE: no sub-region is there, not even in part (3.2, step 20).
    fn check_specific(&self, parent: Koid, options: VmOptions, base: u64, end: u64) -> Result<()> {
        let there = self.children_in(parent, base, end);
        if !options.contains(VmOptions::SPECIFIC_OVERWRITE) {
            return ensure(there.is_empty(), Status::ALREADY_EXISTS);
        }
        let is_vmar = |at: &usize| self.vmar(parent).children[*at].vmar().is_some();
        ensure(!there.iter().any(is_vmar), Status::INVALID_ARGS)
    }

    /// Takes the place that is offered, where it is one; the lowest where none is offered.
    fn choose(&mut self, parent: Koid, search: &Search, number: usize) -> Result<u64> {
        let gaps = self.gaps(parent, search);
        let lowest = gaps.first().map(|(first, _)| *first).ok_or(Status::NO_RESOURCES)?;
        let Some(offered) = self.offer(number) else {
            return Ok(lowest);
        };
        let is_place = |(first, last): &(u64, u64)| (*first..=*last).contains(&offered);
        if offered.is_multiple_of(search.align) && gaps.iter().any(is_place) {
            return Ok(offered);
        }
        self.complain(format!("{offered:#x} is no place for {:#x} bytes", search.size));
        Ok(lowest)
    }

    /// Returns the first and the last address in each gap at which the region may begin.
    fn gaps(&self, parent: Koid, search: &Search) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut from = search.low;
        let bounds = self.vmar(parent).children.iter().map(|child| self.bounds(child));
        for (base, end) in bounds.chain([(search.high, search.high)]) {
            let to = base.min(search.high);
            let first = from.next_multiple_of(search.align);
            if first <= to && search.size <= to - first {
                gaps.push((first, first + (to - first - search.size) / search.align * search.align));
            }
            from = from.max(end);
        }
        gaps
    }
}
