//! The records of `object_get_info`.

use crate::Object;
use crate::sys::{Registers, address_of_mut, hypercall};
use abi::{Call, InfoHandleBasic, InfoHandleCount, InfoMaps, InfoVmar, InfoVmo, Result, Topic};

mod sealed {
    pub trait PlainData: Default {}
}

/// A record that `object_get_info` writes. Every pattern of bits is one, so that a call may fill it.
pub trait Record: sealed::PlainData {
    /// The topic that it answers.
    const TOPIC: Topic;

    /// Asks for this record of `object`.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE; WRONG_TYPE where the object has no such record; ACCESS_DENIED without INSPECT, which
    /// [`InfoHandleBasic`] and [`InfoVmo`] do not need.
    fn of(object: &impl Object) -> Result<Self> {
        let mut record = Self::default();
        let buffer = address_of_mut(&mut record);
        get_info(object, Self::TOPIC, buffer, size_of::<Self>()).ok()?;
        Ok(record)
    }
}

/// How many records a list has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Listed {
    /// Those that were written.
    pub actual: usize,
    /// Those that there are.
    pub available: usize,
}

/// Asks for what lies in a region.
pub(crate) fn maps(object: &impl Object, room: &mut [InfoMaps]) -> Result<Listed> {
    let (buffer, len_bytes) = (address_of_mut(room), size_of_val(room));
    let registers = get_info(object, Topic::VmarMaps, buffer, len_bytes).ok()?;
    Ok(Listed { actual: registers.x1 as usize, available: registers.x2 as usize })
}

/// Asks for any topic, into `len_bytes` bytes at `buffer`, and returns the registers as the call left them.
pub(crate) fn get_info(object: &impl Object, topic: Topic, buffer: u64, len_bytes: usize) -> Registers {
    hypercall(Call::ObjectGetInfo, [object.register(), u32::from(topic).into(), buffer, len_bytes as u64])
}

macro_rules! records {
    ($($record:ty = $topic:expr),* $(,)?) => {
        $(
            impl sealed::PlainData for $record {}

            impl Record for $record {
                const TOPIC: Topic = $topic;
            }
        )*
    };
}

records! {
    InfoHandleBasic = Topic::HandleBasic,
    InfoHandleCount = Topic::HandleCount,
    InfoVmar = Topic::Vmar,
    InfoVmo = Topic::Vmo,
}
