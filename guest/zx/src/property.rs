//! What can be asked of any object: its name, its handles, and to wait for it.

use crate::Object;
use crate::sys::{address_of, address_of_mut, hypercall};
use abi::{Call, NAME_LEN, Property, Result, Signals, Status};

/// A name: up to 31 bytes, and then zeros.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(transparent)]
pub struct Name([u8; NAME_LEN]);

impl Name {
    /// Returns the name of these bytes, of which no more than 31 are kept, and none from the first 0 on.
    pub fn new(text: &[u8]) -> Self {
        let mut bytes = [0; NAME_LEN];
        let kept = text.iter().take(NAME_LEN - 1).take_while(|byte| **byte != 0);
        bytes.iter_mut().zip(kept).for_each(|(byte, kept)| *byte = *kept);
        Self(bytes)
    }

    /// Returns the name without the zeros after it.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Returns the name as a call takes it.
    pub const fn as_array(&self) -> &[u8; NAME_LEN] {
        &self.0
    }
}

impl From<[u8; NAME_LEN]> for Name {
    fn from(bytes: [u8; NAME_LEN]) -> Self {
        Self::new(&bytes)
    }
}

/// What came of waiting. The signals are those that are asserted in the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Waited {
    /// One that was waited for is asserted.
    Asserted(Signals),
    /// The deadline came first.
    TimedOut(Signals),
    /// The call was refused: BAD_HANDLE, or ACCESS_DENIED without WAIT.
    Refused(Status),
}

/// Returns an object's name (`zx_object_get_property` with ZX_PROP_NAME).
pub(crate) fn name(object: &impl Object) -> Result<Name> {
    let mut bytes = [0; NAME_LEN];
    hypercall(Call::ObjectGetProperty, arguments(object, address_of_mut(&mut bytes), NAME_LEN)).ok()?;
    Ok(bytes.into())
}

/// Names an object (`zx_object_set_property` with ZX_PROP_NAME).
pub(crate) fn set_name(object: &impl Object, name: &[u8]) -> Result<()> {
    hypercall(Call::ObjectSetProperty, arguments(object, address_of(name), name.len())).status().ok()
}

fn arguments(object: &impl Object, buffer: u64, len_bytes: usize) -> [u64; 4] {
    [object.register(), u32::from(Property::Name).into(), buffer, len_bytes as u64]
}

/// Waits until one of the signals is asserted (`zx_object_wait_one`).
pub(crate) fn wait_one(object: &impl Object, signals: Signals, deadline_ns: u64) -> Waited {
    let registers = hypercall(Call::ObjectWaitOne, [object.register(), signals.bits().into(), deadline_ns]);
    let observed = Signals::from_bits_retain(registers.x1 as u32);
    match registers.status() {
        Status::OK => Waited::Asserted(observed),
        Status::TIMED_OUT => Waited::TimedOut(observed),
        refused => Waited::Refused(refused),
    }
}
