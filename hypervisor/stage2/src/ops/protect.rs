//! Changing permissions.

use core::convert::Infallible;

use vmsa::{Attributes, Hpa, IpaRange, Leaf, Perms};

use crate::change::{Held, Place, Via};
use crate::edit::Edit;
use crate::gather::Flushed;
use crate::walk::{Next, Visitor};
use crate::{Mmu, Stage2, Tables};

impl Stage2 {
    /// Gives the pages of `range` that are mapped the permissions `perms`. What they lose is gone from every TLB when this
    /// returns; what they gain a CPU may fault on once more, and [`Stage2::refresh`] serves that. A page that is shared
    /// ([`Attributes::shared`]) does not become writable. Neighbours that are alike then become one leaf.
    ///
    /// Never fails: a block that the range cuts, and that there is no table to split for, goes as a whole, as for
    /// [`Stage2::unmap`].
    pub fn protect<M: Mmu, T: Tables>(&mut self, mmu: &M, tables: &mut T, range: IpaRange, perms: Perms) -> Flushed {
        let mut edit = Edit::new(self, mmu, tables);
        let mut protect = Protect { edit: &mut edit, range, perms, has_changed: false };
        let Ok(()) = protect.edit.walker().walk(range, &mut protect);
        edit.close()
    }
}

struct Protect<'v, 'e, M, T> {
    edit: &'v mut Edit<'e, M, T>,
    range: IpaRange,
    perms: Perms,
    has_changed: bool,
}

impl<M: Mmu, T: Tables> Protect<'_, '_, M, T> {
    fn wanted(&self, leaf: Leaf) -> Leaf {
        let shared = if leaf.attributes.shared { Perms::WRITE } else { Perms::empty() };
        self.edit.sayable(Leaf { attributes: Attributes { perms: self.perms - shared, ..leaf.attributes }, ..leaf })
    }

    fn leaf(&mut self, held: Held, leaf: Leaf, part: IpaRange) -> Next {
        let slot = held.slot();
        if part == slot.span() {
            let perms = self.wanted(leaf).attributes.perms;
            let with_perms = |leaf: Leaf| Leaf { attributes: Attributes { perms, ..leaf.attributes }, ..leaf };
            self.edit.change(held, leaf, with_perms);
            return Next::Same;
        }
        match (self.edit.split(held, leaf, part), self.edit.look(slot)) {
            (Ok(via), _) => Next::Descend(via),
            (Err(_), Place::Leaf(held, leaf)) => {
                let _ = self.edit.remove(held, leaf);
                Next::Gone
            }
            _ => Next::Same,
        }
    }
}

impl<M: Mmu, T: Tables> Visitor for Protect<'_, '_, M, T> {
    type Error = Infallible;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Infallible> {
        let place = match place {
            Place::Leaf(_, leaf) if self.wanted(leaf) == leaf => return Ok(Next::Same),
            Place::Leaf(..) => self.edit.ungroup(place, self.range),
            place => place,
        };
        Ok(match place {
            Place::Vacant(_) | Place::Prepared(_) => Next::Same,
            Place::Table(held, table) => Next::Descend(held.via(table)),
            Place::Leaf(held, leaf) => {
                self.has_changed = true;
                self.leaf(held, leaf, part)
            }
        })
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: Via, part: IpaRange) -> Next {
        if self.has_changed { self.edit.tidy(via, part) } else { Next::Same }
    }
}
