//! The words of a trace, each at one place: what prints them and what reads them look here.

use crate::{Accesses, DcOp, Domain, FrameKind, Order, Register, Target, TlbiOp, Work};

/// Returns the word for a value.
pub(super) fn word<T: PartialEq + Copy>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, meaning)| *meaning == value).map_or("?", |(word, _)| *word)
}

/// Returns what a word means.
pub(super) fn meaning<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}

pub(super) const ORDERS: &[(&str, Order)] =
    &[("plain", Order::Plain), ("release", Order::Release), ("rmw", Order::Atomic)];

pub(super) const DOMAINS: &[(&str, Domain)] =
    &[("nsh", Domain::Local), ("ish", Domain::Inner), ("osh", Domain::Outer), ("sy", Domain::System)];

pub(super) const ACCESSES: &[(&str, Accesses)] =
    &[("full", Accesses::Full), ("ld", Accesses::Loads), ("st", Accesses::Stores)];

pub(super) const REGISTERS: &[(&str, Register)] =
    &[("vtcr_el2", Register::VtcrEl2), ("vttbr_el2", Register::VttbrEl2), ("hcr_el2", Register::HcrEl2)];

pub(super) const KINDS: &[(&str, FrameKind)] = &[("table", FrameKind::Table), ("guest", FrameKind::Guest)];

pub(super) const DC_OPS: &[(&str, DcOp)] = &[
    ("cvau", DcOp::CleanToUnification),
    ("cvac", DcOp::Clean),
    ("civac", DcOp::CleanInvalidate),
    ("ivac", DcOp::Invalidate),
];

pub(super) const WORKS: &[(&str, Work)] = &[
    ("map", Work::Map),
    ("unmap", Work::Unmap),
    ("protect", Work::Protect),
    ("commit", Work::Commit),
    ("decommit", Work::Decommit),
    ("age", Work::Age),
    ("harvest", Work::Harvest),
    ("fault", Work::Fault),
];

/// Instructions without their suffixes; those with `true` mean last-level entries only.
pub(super) const TLBIS: &[(&str, (Target, bool))] = &[
    ("ipas2e1", (Target::Ipa, false)),
    ("ipas2le1", (Target::Ipa, true)),
    ("ripas2e1", (Target::Range, false)),
    ("ripas2le1", (Target::Range, true)),
    ("vmalle1", (Target::Stage1, false)),
    ("vmalls12e1", (Target::Vmid, false)),
    ("alle1", (Target::All, false)),
    ("vae1", (Target::Stage1Some, false)),
    ("vale1", (Target::Stage1Some, true)),
    ("vaae1", (Target::Stage1Some, false)),
    ("vaale1", (Target::Stage1Some, true)),
    ("aside1", (Target::Stage1Some, false)),
    ("rvae1", (Target::Stage1Some, false)),
    ("rvale1", (Target::Stage1Some, true)),
    ("rvaae1", (Target::Stage1Some, false)),
    ("rvaale1", (Target::Stage1Some, true)),
    ("vae2", (Target::El2, false)),
    ("vale2", (Target::El2, true)),
    ("rvae2", (Target::El2, false)),
    ("rvale2", (Target::El2, true)),
    ("alle2", (Target::El2, false)),
];

/// Returns the operation of a name such as `ripas2le1isnxs`.
pub(super) fn tlbi(name: &str) -> Option<TlbiOp> {
    let (name, is_nxs) = name.strip_suffix("nxs").map_or((name, false), |name| (name, true));
    let (base, domain) = match (name.strip_suffix("is"), name.strip_suffix("os")) {
        (Some(base), _) => (base, Domain::Inner),
        (_, Some(base)) => (base, Domain::Outer),
        _ => (name, Domain::Local),
    };
    let (target, leaf_only) = meaning(TLBIS, base)?;
    Some(TlbiOp { target, leaf_only, domain, is_nxs })
}

/// Returns the suffix that says how far an invalidation reaches.
pub(super) const fn suffix(domain: Domain) -> &'static str {
    match domain {
        Domain::Local => "",
        Domain::Inner => "is",
        Domain::Outer | Domain::System => "os",
    }
}
