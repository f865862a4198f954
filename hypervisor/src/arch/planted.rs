//! Bugs that are planted to see the tests notice them. Without the features of that name this passes everything on.

use vmsa::{Scope, Tlbi};

const NO_STAGE1: bool = cfg!(any(feature = "plant-no-tlbi", feature = "plant-no-stage1-tlbi"));
const NO_STAGE2: bool = cfg!(any(feature = "plant-no-tlbi", feature = "plant-no-stage2-tlbi"));
const NO_VMID: bool = cfg!(feature = "plant-no-tlbi");
const LOCAL: bool = cfg!(feature = "plant-local-tlbi");

/// Returns how far an invalidation is sent, or `None` where it is not.
#[inline]
pub(super) const fn scope_of(op: Tlbi, scope: Scope) -> Option<Scope> {
    let is_dropped = match op {
        Tlbi::Stage1 => NO_STAGE1,
        Tlbi::Ipa { .. } | Tlbi::Range { .. } => NO_STAGE2,
        Tlbi::Vmid => NO_VMID,
        Tlbi::All => false,
    };
    match (is_dropped, LOCAL) {
        (true, _) => None,
        (false, true) => Some(Scope::Local),
        (false, false) => Some(scope),
    }
}
