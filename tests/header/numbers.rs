//! The numbers of the ABI crate under the names that C has for them.

use abi::{
    CachePolicy, Call, ChildOptions, MapsType, NAME_LEN, ObjectType, PinOptions, Property, RawHandle, Rights, Signals,
    Startup, Status, Topic, VmOptions, VmarOp, VmoInfoFlags, VmoOp, VmoOptions,
};
use std::fmt::Debug;

/// What the headers name beyond that: the absence of things, sums, macros for times, and how a number is made.
pub(crate) const WITHOUT_COUNTERPART: &[&str] = &[
    "ZX_RIGHT_NONE",
    "ZX_RIGHTS_IO",
    "ZX_RIGHTS_PROPERTY",
    "ZX_SIGNAL_NONE",
    "ZX_OBJ_TYPE_NONE",
    "ZX_CACHE_POLICY_MASK",
    "ZX_INFO_VMO_TYPE_PHYSICAL",
    "ZX_VM_ALIGN_BASE",
];

/// Returns all of them, by name and value.
pub(crate) fn all() -> Vec<(String, i64)> {
    let lists = [single(), statuses(), flags(), alignments(), operations(), topics(), calls()];
    lists.into_iter().flatten().collect()
}

fn single() -> Vec<(String, i64)> {
    let named = [
        ("ZX_HANDLE_INVALID", RawHandle::INVALID.0.into()),
        ("ZX_HANDLE_FIXED_BITS_MASK", RawHandle::FIXED_BITS.into()),
        ("ZX_KOID_INVALID", abi::KOID_INVALID as i64),
        ("ZX_MAX_NAME_LEN", NAME_LEN as i64),
        ("ZX_RIGHTS_BASIC", Rights::BASIC.bits().into()),
    ];
    named.map(|(name, value)| (name.into(), value)).into()
}

fn statuses() -> Vec<(String, i64)> {
    let named = |number: i32| match (number, Status::from_raw(number).name()?) {
        (0, name) => Some((format!("ZX_{name}"), 0)),
        (_, name) => Some((format!("ZX_ERR_{name}"), number.into())),
    };
    (-100..=0).filter_map(named).collect()
}

/// The names of a flag type's single bits, behind a prefix.
macro_rules! bits {
    ($flags:ty, $prefix:literal) => {
        <$flags>::all()
            .iter_names()
            .filter(|(_, flag)| flag.bits().is_power_of_two())
            .map(|(name, flag)| (format!("{}{name}", $prefix), i64::from(flag.bits())))
    };
}

fn flags() -> Vec<(String, i64)> {
    let of_vmo_info = bits!(VmoInfoFlags, "ZX_INFO_VMO_").map(|(name, bit)| match name.as_str() {
        "ZX_INFO_VMO_PAGED" => ("ZX_INFO_VMO_TYPE_PAGED".into(), bit),
        "ZX_INFO_VMO_COW_CLONE" => ("ZX_INFO_VMO_IS_COW_CLONE".into(), bit),
        _ => (name, bit),
    });
    bits!(Rights, "ZX_RIGHT_")
        .chain(bits!(VmOptions, "ZX_VM_"))
        .chain(bits!(VmoOptions, "ZX_VMO_"))
        .chain(bits!(ChildOptions, "ZX_VMO_CHILD_"))
        .chain(bits!(PinOptions, "ZX_BTI_"))
        .chain(bits!(Signals, "ZX_"))
        .chain(of_vmo_info)
        .collect()
}

fn alignments() -> Vec<(String, i64)> {
    let name = |log2: u32| match log2 {
        10..20 => format!("{}KB", 1 << (log2 - 10)),
        20..30 => format!("{}MB", 1 << (log2 - 20)),
        _ => format!("{}GB", 1 << (log2 - 30)),
    };
    (10..=32).map(|log2| (format!("ZX_VM_ALIGN_{}", name(log2)), i64::from(log2) << 24)).collect()
}

fn operations() -> Vec<(String, i64)> {
    let objects =
        [ObjectType::Vmo, ObjectType::Resource, ObjectType::Vmar, ObjectType::Guest, ObjectType::Bti, ObjectType::Pmt];
    let objects = objects.into_iter().map(|object| (named("ZX_OBJ_TYPE_", object), u32::from(object).into()));
    every::<VmarOp>("ZX_VMAR_OP_")
        .chain(every::<VmoOp>("ZX_VMO_OP_"))
        .chain(every::<CachePolicy>("ZX_CACHE_POLICY_"))
        .chain(every::<MapsType>("ZX_INFO_MAPS_TYPE_"))
        .chain(every::<Property>("ZX_PROP_"))
        .chain(objects)
        .collect()
}

fn topics() -> Vec<(String, i64)> {
    let numbers = (0..4_u32).flat_map(|version| (0..64).map(move |number| version << 28 | number));
    numbers.filter_map(|number| Some((named("ZX_INFO_", Topic::try_from(number).ok()?), i64::from(number)))).collect()
}

/// The numbers of the calls, which the C runtime has too. It does without those that look at the hypervisor.
fn calls() -> Vec<(String, i64)> {
    let calls = (0..0x100_u32).filter_map(|number| Call::try_from(number).ok()).filter(|call| !call.is_inspection());
    calls.map(|call| (named("CALL_", call), i64::from(call as u32))).chain(every::<Startup>("STARTUP_")).collect()
}

/// Returns the names and numbers of an enumeration, of which none is 64 or more.
fn every<T: TryFrom<u32> + Debug>(prefix: &str) -> impl Iterator<Item = (String, i64)> {
    (0..64).filter_map(move |number| Some((named(prefix, T::try_from(number).ok()?), i64::from(number))))
}

/// Returns the name that C has for a variant: `MapRange` is MAP_RANGE there.
fn named(prefix: &str, variant: impl Debug) -> String {
    let mut name = String::from(prefix);
    for (index, letter) in format!("{variant:?}").char_indices() {
        if index > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
