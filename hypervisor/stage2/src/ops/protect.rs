//! Changing permissions.

use vmsa::{Attributes, Codec, Hpa, IpaRange, Leaf, Perms};

use crate::change::{Held, Place, Slot, Via};
use crate::edit::{Edit, OutOfTables};
use crate::gather::Flushed;
use crate::walk::{Next, Visitor};
use crate::{Mmu, Stage2, Tables};

impl Stage2 {
    /// Gives the pages of `range` that are mapped the permissions `perms`. What they lose is gone from every TLB when this
    /// returns; what they gain a CPU may fault on once more, and [`Stage2::refresh`] serves that. A page that is shared
    /// ([`Attributes::shared`]) does not become writable. Neighbours that are alike then become one leaf.
    ///
    /// # Errors
    ///
    /// [`OutOfTables`]: the range cuts a block, and there is no table to split it. Everything is as it was.
    pub fn protect<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        range: IpaRange,
        perms: Perms,
    ) -> Result<Flushed, OutOfTables> {
        let mut edit = Edit::new(self, mmu, tables);
        let codec = edit.tree.codec;
        let mut result = edit.reserve(range, |leaf| wanted(codec, leaf, perms) != leaf);
        if result.is_ok() {
            let mut protect = Protect { edit: &mut edit, range, perms, has_changed: false };
            result = protect.edit.walker().walk(range, &mut protect);
        }
        let flushed = edit.close();
        result.map(|()| flushed)
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
        wanted(self.edit.tree.codec, leaf, self.perms)
    }

    fn leaf(&mut self, held: Held, leaf: Leaf, part: IpaRange) -> Result<Next, OutOfTables> {
        if part != held.slot().span() {
            return self.edit.split(held, leaf, part).map(Next::Descend);
        }
        let perms = self.wanted(leaf).attributes.perms;
        let with_perms = |leaf: Leaf| Leaf { attributes: Attributes { perms, ..leaf.attributes }, ..leaf };
        self.edit.change(held, leaf, with_perms);
        Ok(Next::Same)
    }
}

impl<M: Mmu, T: Tables> Visitor for Protect<'_, '_, M, T> {
    type Error = OutOfTables;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, OutOfTables> {
        let place = match place {
            Place::Leaf(_, leaf) if self.wanted(leaf) == leaf => return Ok(Next::Same),
            Place::Leaf(..) if !planted::is(56) => self.edit.ungroup(place, self.range),
            place => place,
        };
        Ok(match place {
            Place::Vacant(_) | Place::Prepared(_) => Next::Same,
            Place::Table(held, table) => Next::Descend(held.via(table)),
            Place::Leaf(held, leaf) => {
                self.has_changed = true;
                self.leaf(held, leaf, part)?
            }
        })
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: Via, part: IpaRange) -> Next {
        if self.has_changed { self.edit.tidy(via, part) } else { Next::Same }
    }

    fn leave_root(&mut self, first: Slot, part: IpaRange) {
        if self.has_changed {
            self.edit.hint_groups(first, part);
        }
    }
}

/// Returns the leaf with the permissions, as far as it may have them and can say them.
fn wanted(codec: Codec, leaf: Leaf, perms: Perms) -> Leaf {
    let shared = if leaf.attributes.shared { Perms::WRITE } else { Perms::empty() };
    Leaf { attributes: codec.sayable(Attributes { perms: perms - shared, ..leaf.attributes }), ..leaf }
}
