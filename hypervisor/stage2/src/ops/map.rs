//! Mapping: first every table is made that is needed, then what is to be seen becomes visible. So a map that finds no frame
//! for a table leaves everything as it was.

use core::convert::Infallible;

use vmsa::{Attributes, ENTRIES, Entry, Hpa, Ipa, IpaRange, Leaf, Level, PAGE_SIZE};

use crate::change::{GROUP, Place, Slot, Vacant, Via};
use crate::edit::{Edit, OutOfTables};
use crate::fill::leaves_of;
use crate::gather::Flushed;
use crate::tree::free_subtree;
use crate::walk::{Next, Visitor};
use crate::{Mmu, Stage2, Tables};

/// Memory that a range of addresses is to lead to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Run {
    /// Where the first address leads.
    pub output: Hpa,
    /// How many bytes follow one another from there, a multiple of the page size and not 0.
    pub len: u64,
    /// What the leaves say; their size and the hint are found here.
    pub attributes: Attributes,
}

impl Stage2 {
    /// Maps what `source` knows of `range` and is not mapped, in leaves as large as alignment and runs allow, and leaves the
    /// rest alone. Neighbours that are alike then become one. The pages' contents were written before the call.
    ///
    /// # Errors
    ///
    /// [`OutOfTables`]: everything is as it was.
    pub fn map<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        range: IpaRange,
        source: impl FnMut(Ipa) -> Option<Run>,
    ) -> Result<Flushed, OutOfTables> {
        let (mut edit, mut source) = (Edit::new(self, mmu, tables), source);
        let prepared = prepare(&mut edit, &mut source, range);
        if prepared.is_ok() {
            let Ok(()) = edit.walker().walk(range, &mut Fill { edit: &mut edit, source: &mut source, range });
        }
        let flushed = edit.close();
        prepared.map(|()| flushed)
    }

    /// Maps the page at `ipa`, whatever is mapped there: other memory is broken and invalidated first, the same memory gets the
    /// permissions in place. A block that is there is split.
    ///
    /// # Errors
    ///
    /// [`OutOfTables`]: what is mapped is as it was.
    pub fn map_page<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ipa: Ipa,
        page: (Hpa, Attributes),
    ) -> Result<Flushed, OutOfTables> {
        let (output, attributes) = page;
        let range = IpaRange::page(ipa);
        let mut edit = Edit::new(self, mmu, tables);
        let mut source = |_| Some(Run { output, len: PAGE_SIZE, attributes });
        let mut result = edit.reserve(range, |_| true).and_then(|()| prepare(&mut edit, &mut source, range));
        if result.is_ok() {
            let page = edit.sayable(Leaf { output, attributes });
            result = edit.walker().walk(range, &mut Put { edit: &mut edit, page });
        }
        let flushed = edit.close();
        result.map(|()| flushed)
    }
}

/// Makes the tables that mapping `range` takes, filled, without showing them to walks.
fn prepare<M: Mmu, T: Tables>(
    edit: &mut Edit<'_, M, T>,
    source: &mut impl FnMut(Ipa) -> Option<Run>,
    range: IpaRange,
) -> Result<(), OutOfTables> {
    let prepared = edit.walker().walk(range, &mut Prepare { edit, source });
    if prepared.is_err() && !planted::is(129) {
        let Ok(()) = edit.walker().walk(range, &mut Forget { edit });
    }
    prepared
}

struct Prepare<'v, 'e, M, T, S> {
    edit: &'v mut Edit<'e, M, T>,
    source: &'v mut S,
}

impl<M: Mmu, T: Tables, S: FnMut(Ipa) -> Option<Run>> Prepare<'_, '_, M, T, S> {
    fn build(&mut self, vacant: Vacant, part: IpaRange) -> Result<(), OutOfTables> {
        let slot = vacant.slot();
        let Some(below) = slot.level().next() else { return Ok(()) };
        let is_block = part == slot.span() && leaves_of((self.source)(part.start), part, slot.level()).is_some();
        if !is_block && let Some(table) = self.edit.build(self.source, below, part)? {
            vacant.prepare(self.edit.mmu, self.edit.tree.codec, Entry::Table(table));
            self.edit.tree.stats.stores += 1;
        }
        Ok(())
    }
}

impl<M: Mmu, T: Tables, S: FnMut(Ipa) -> Option<Run>> Visitor for Prepare<'_, '_, M, T, S> {
    type Error = OutOfTables;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, OutOfTables> {
        match place {
            Place::Vacant(vacant) => self.build(vacant, part)?,
            // The last tables take no others.
            Place::Table(held, table) if held.slot().level() < Level::L2 => return Ok(Next::Descend(held.via(table))),
            Place::Table(..) | Place::Prepared(_) | Place::Leaf(..) => {}
        }
        Ok(Next::Same)
    }
}

/// Takes back what was prepared.
struct Forget<'v, 'e, M, T> {
    edit: &'v mut Edit<'e, M, T>,
}

impl<M: Mmu, T: Tables> Visitor for Forget<'_, '_, M, T> {
    type Error = Infallible;

    fn visit(&mut self, place: Place, _part: IpaRange) -> Result<Next, Infallible> {
        match place {
            Place::Prepared(prepared) => {
                let (mmu, codec) = (self.edit.mmu, self.edit.tree.codec);
                if let Some((table, level)) = prepared.forget(mmu, codec) {
                    self.edit.tree.stats.tables -= free_subtree(codec, mmu, self.edit.tables, table, level);
                }
            }
            Place::Table(held, table) => return Ok(Next::Descend(held.via(table))),
            Place::Vacant(_) | Place::Leaf(..) => {}
        }
        Ok(Next::Same)
    }
}

struct Fill<'v, 'e, M, T, S> {
    edit: &'v mut Edit<'e, M, T>,
    source: &'v mut S,
    range: IpaRange,
}

impl<M: Mmu, T: Tables, S: FnMut(Ipa) -> Option<Run>> Fill<'_, '_, M, T, S> {
    fn fill(&mut self, vacant: Vacant, part: IpaRange) -> Next {
        let slot = vacant.slot();
        if part != slot.span() {
            return Next::Same;
        }
        let rest = IpaRange { start: part.start, end: self.range.end };
        let Some((leaf, count)) = leaves_of((self.source)(part.start), rest, slot.level()) else {
            return Next::Same;
        };
        let leaf = self.edit.sayable(leaf);
        if count >= GROUP && self.edit.may_group(leaf.attributes) && self.is_vacant_group(slot, leaf) {
            return self.make_group(slot, leaf);
        }
        self.edit.make(vacant, Entry::Leaf(leaf));
        Next::Made
    }

    /// Tells whether a group begins here, with nothing in it, that the leaf can begin.
    fn is_vacant_group(&self, slot: Slot, leaf: Leaf) -> bool {
        let group = slot.group();
        slot.span().start == group.start
            && leaf.output.0.is_multiple_of(group.len())
            && slot.members().all(|member| matches!(self.edit.look(member), Place::Vacant(_)))
    }

    fn make_group(&mut self, slot: Slot, leaf: Leaf) -> Next {
        let mut output = leaf.output;
        for member in slot.members() {
            if let Place::Vacant(vacant) = self.edit.look(member) {
                let attributes = Attributes { contiguous: true, ..leaf.attributes };
                self.edit.make(vacant, Entry::Leaf(Leaf { output, attributes }));
            }
            output = output.add(slot.level().entry_span());
        }
        Next::MadeMany(GROUP)
    }
}

impl<M: Mmu, T: Tables, S: FnMut(Ipa) -> Option<Run>> Visitor for Fill<'_, '_, M, T, S> {
    type Error = Infallible;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Infallible> {
        Ok(match place {
            Place::Vacant(vacant) => self.fill(vacant, part),
            Place::Prepared(prepared) => self.edit.make_prepared(prepared),
            Place::Leaf(..) => Next::Same,
            // There is nothing to add to a full table; but single pages may have made it what a block can say.
            Place::Table(held, table) if self.is_full(held.slot().level(), table) => {
                self.edit.tidy(held.via(table), part);
                Next::Same
            }
            Place::Table(held, table) => Next::Descend(held.via(table)),
        })
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: Via, part: IpaRange) -> Next {
        self.edit.tidy(via, part);
        Next::Same
    }

    fn leave_root(&mut self, first: Slot, part: IpaRange) {
        self.edit.hint_groups(first, part);
    }
}

impl<M: Mmu, T: Tables, S> Fill<'_, '_, M, T, S> {
    fn is_full(&self, level: Level, table: Hpa) -> bool {
        level == Level::L2 && usize::from(self.edit.tables.live_entries(table)) == ENTRIES
    }
}

/// Puts one page in its place, whatever is there.
struct Put<'v, 'e, M, T> {
    edit: &'v mut Edit<'e, M, T>,
    page: Leaf,
}

impl<M: Mmu, T: Tables> Put<'_, '_, M, T> {
    fn put(&mut self, place: Place, part: IpaRange) -> Result<Next, OutOfTables> {
        let place = self.edit.ungroup(place, part);
        let Place::Leaf(held, leaf) = place else { return Ok(Next::Same) };
        if held.slot().level() != Level::LEAF {
            return self.edit.split(held, leaf, part).map(Next::Descend);
        }
        let page = self.page;
        self.edit.change(held, leaf, |_| page);
        Ok(Next::Same)
    }

    /// Tells whether the page is there, and says what it is to say.
    fn is_there(&self, slot: Slot, leaf: Leaf, part: IpaRange) -> bool {
        let output = leaf.output.add(part.start.0 - slot.span().start.0);
        let attributes = Attributes { contiguous: self.page.attributes.contiguous, ..leaf.attributes };
        Leaf { output, attributes } == self.page
    }
}

impl<M: Mmu, T: Tables> Visitor for Put<'_, '_, M, T> {
    type Error = OutOfTables;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, OutOfTables> {
        match place {
            Place::Vacant(vacant) => {
                self.edit.make(vacant, Entry::Leaf(self.page));
                Ok(Next::Made)
            }
            Place::Prepared(prepared) => Ok(self.edit.make_prepared(prepared)),
            Place::Table(held, table) => Ok(Next::Descend(held.via(table))),
            Place::Leaf(ref held, leaf) if self.is_there(held.slot(), leaf, part) => Ok(Next::Same),
            place => self.put(place, part),
        }
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }
}
