//! Mapping: first every table is made that is needed, then what is to be seen becomes visible. So a map that finds no frame
//! for a table leaves everything as it was.

use core::convert::Infallible;

use vmsa::{Attributes, Entry, Hpa, Ipa, IpaRange, Leaf, Level, PAGE_SIZE};

use crate::change::{Held, Place, Slot, Slots, Vacant, Via};
use crate::edit::{Edit, OutOfTables};
use crate::fill::leaves_of;
use crate::gather::Flushed;
use crate::tree::free_subtree;
use crate::walk::{Done, Enter, Next, Visitor};
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
        mut source: impl FnMut(Ipa) -> Option<Run>,
    ) -> Result<Flushed, OutOfTables> {
        let mut edit = Edit::new(self, mmu, tables);
        if (Fill { edit: &mut edit, source: &mut source }).among_others(range) {
            return Ok(edit.close());
        }
        let prepared = prepare(&mut edit, &mut source, range);
        if prepared.is_ok() {
            let Ok(()) = edit.walker().walk(range, &mut Fill { edit: &mut edit, source: &mut source });
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
        let page = edit.tree.sayable(Leaf { output, attributes });
        let result = match edit.walker().last_entries(range) {
            Some(entry) => Put { edit: &mut edit, page }.put_at(entry.first, range),
            None => put_anywhere(&mut edit, range, page),
        };
        let flushed = edit.close();
        result.map(|()| flushed)
    }
}

/// Puts a page in its place, where there may be no table for it.
fn put_anywhere<M: Mmu, T: Tables>(edit: &mut Edit<'_, M, T>, range: IpaRange, page: Leaf) -> Result<(), OutOfTables> {
    let mut source = |_| Some(Run { output: page.output, len: PAGE_SIZE, attributes: page.attributes });
    edit.reserve(range, |_| true)?;
    prepare(edit, &mut source, range)?;
    edit.walker().walk(range, &mut Put { edit, page })
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

    /// The last tables take no others.
    fn enter(&mut self, via: &Via, _part: IpaRange) -> Enter {
        if via.slot.level() < Level::L2 { Enter::Descend } else { Enter::Pass }
    }

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, OutOfTables> {
        match place {
            Place::Vacant(vacant) => self.build(vacant, part)?,
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
                    self.edit.tree.stats.tables -= free_subtree(mmu, self.edit.tables, table, level);
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
}

impl<M: Mmu, T: Tables, S: FnMut(Ipa) -> Option<Run>> Fill<'_, '_, M, T, S> {
    /// Does all there is to do where a part of one table of the last level is for the range, and the table does not become full: it
    /// takes no table, and makes no block. Saves half of what a page costs.
    fn among_others(&mut self, range: IpaRange) -> bool {
        if range.len() >= Level::LEAF.table_span() {
            return false;
        }
        let entries = self.edit.walker().last_entries(range);
        let Some(entries) = entries.filter(|entries| !self.edit.is_full(entries.first.table())) else { return false };
        let mut done = Done::default();
        while done.passed < entries.count {
            done = done.and(self.run(entries.part(done.passed..entries.count)));
            // What is there stays.
            done.passed += 1;
        }
        self.edit.note(entries.first.table(), done.delta);
        let has_room = !self.edit.is_full(entries.first.table());
        if has_room {
            self.edit.hint_groups(entries.whole_table(), range);
        }
        has_room
    }

    /// Makes the vacant entries at the beginning of a run lead to what `source` knows of the first; without that, passes it.
    fn fill(&mut self, run: Slots) -> Done {
        if run.count == 0 || !run.part(0..1).are_vacant(self.edit.mmu) {
            return Done::default();
        }
        match leaves_of((self.source)(run.first.span().start), run.span(), run.first.level()) {
            Some((leaf, count)) => self.edit.make_leaves(run.part(0..count).vacancies(self.edit.mmu), leaf),
            None => Done { passed: 1, delta: 0 },
        }
    }
}

impl<M: Mmu, T: Tables, S: FnMut(Ipa) -> Option<Run>> Visitor for Fill<'_, '_, M, T, S> {
    type Error = Infallible;

    fn run(&mut self, run: Slots) -> Done {
        let mut done = Done::default();
        loop {
            let more = self.fill(run.part(done.passed..run.count));
            if more.passed == 0 {
                return done;
            }
            done = done.and(more);
        }
    }

    /// There is nothing to add to a full table; but single pages may have made it what a block can say.
    fn enter(&mut self, via: &Via, part: IpaRange) -> Enter {
        if via.slot.level() != Level::L2 || !self.edit.is_full(via.table) {
            return Enter::Descend;
        }
        self.edit.tidy(via, part);
        Enter::Pass
    }

    fn visit(&mut self, place: Place, _part: IpaRange) -> Result<Next, Infallible> {
        Ok(match place {
            Place::Prepared(prepared) => self.edit.make_prepared(prepared),
            Place::Vacant(_) | Place::Leaf(..) => Next::Same,
            Place::Table(held, table) => Next::Descend(held.via(table)),
        })
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: &Via, part: IpaRange, _delta: i32) -> Next {
        self.edit.tidy(via, part);
        Next::Same
    }

    fn leave_root(&mut self, entries: Slots, part: IpaRange) {
        self.edit.hint_groups(entries, part);
    }
}

/// Puts one page in its place, whatever is there.
struct Put<'v, 'e, M, T> {
    edit: &'v mut Edit<'e, M, T>,
    page: Leaf,
}

impl<M: Mmu, T: Tables> Put<'_, '_, M, T> {
    /// Puts it where an entry of the last level is for it.
    fn put_at(&mut self, slot: Slot, range: IpaRange) -> Result<(), OutOfTables> {
        let place = self.edit.look(slot);
        if let Next::Made = self.visit(place, range)? {
            self.note(slot.table(), 1);
        }
        Ok(())
    }

    fn put(&mut self, held: Held, leaf: Leaf, part: IpaRange) -> Result<Next, OutOfTables> {
        let Some((held, leaf)) = self.edit.ungroup(held, leaf, part) else { return Ok(Next::Same) };
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
            Place::Leaf(held, leaf) => self.put(held, leaf, part),
        }
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }
}
