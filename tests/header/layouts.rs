//! The sizes of the ABI crate's records and where their fields are, in C's words.

use abi::{InfoHandleBasic, InfoHandleCount, InfoMaps, InfoVmar, InfoVmo, VmoLockState};
use std::mem::offset_of;

/// Lists the size of a record and the offsets of its fields. A field that C calls otherwise has that name behind it.
macro_rules! layout {
    ($record:ty, $c:literal: $($field:ident $(= $c_field:literal)?),* $(,)?) => {{
        let fields = [$((layout!(@ $field $($c_field)?), offset_of!($record, $field))),*];
        let offsets = fields.map(|(field, offset)| (format!("offsetof({}, {field})", $c), offset));
        [(format!("sizeof({})", $c), size_of::<$record>())].into_iter().chain(offsets)
    }};
    (@ $field:ident $c_field:literal) => { $c_field };
    (@ $field:ident) => { stringify!($field) };
}

/// Returns what C must find, and its value.
pub(crate) fn all() -> Vec<(String, usize)> {
    handle_basic().chain(small()).chain(maps()).chain(vmo()).collect()
}

fn handle_basic() -> impl Iterator<Item = (String, usize)> {
    layout!(InfoHandleBasic, "zx_info_handle_basic_t": koid, rights, object_type = "type", related_koid, reserved, padding = "padding1")
}

fn small() -> impl Iterator<Item = (String, usize)> {
    layout!(InfoHandleCount, "zx_info_handle_count_t": handle_count)
        .chain(layout!(InfoVmar, "zx_info_vmar_t": base, len))
        .chain(layout!(VmoLockState, "zx_vmo_lock_state_t": offset, size, discarded_offset, discarded_size))
}

fn maps() -> impl Iterator<Item = (String, usize)> {
    layout!(InfoMaps, "zx_info_maps_t":
        name, base, size, depth, maps_type = "type", padding = "padding1",
        mmu_flags = "u.mapping.mmu_flags",
        mapping_padding = "u.mapping.padding1",
        vmo_koid = "u.mapping.vmo_koid",
        vmo_offset = "u.mapping.vmo_offset",
        committed_bytes = "u.mapping.committed_bytes",
        populated_bytes = "u.mapping.populated_bytes",
        committed_private_bytes = "u.mapping.committed_private_bytes",
        populated_private_bytes = "u.mapping.populated_private_bytes",
        committed_scaled_bytes = "u.mapping.committed_scaled_bytes",
        populated_scaled_bytes = "u.mapping.populated_scaled_bytes",
        committed_fractional_scaled_bytes = "u.mapping.committed_fractional_scaled_bytes",
        populated_fractional_scaled_bytes = "u.mapping.populated_fractional_scaled_bytes",
    )
}

fn vmo() -> impl Iterator<Item = (String, usize)> {
    layout!(InfoVmo, "zx_info_vmo_t":
        koid, name, size_bytes, parent_koid, num_children, num_mappings, share_count, flags, padding = "padding1",
        committed_bytes, handle_rights, cache_policy, metadata_bytes, committed_change_events, populated_bytes,
        committed_private_bytes, populated_private_bytes, committed_scaled_bytes, populated_scaled_bytes,
        committed_fractional_scaled_bytes, populated_fractional_scaled_bytes,
    )
}
