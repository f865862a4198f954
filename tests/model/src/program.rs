//! Programs: calls and accesses, one after the other, as values and as text.
//!
//! A line is a step: its number, what is done, and the arguments. `h3` is the handle that step 3 gave, `a3` the address, either
//! with `+0x1000` behind it; a step that gave none stands for a number that is neither. So a step can be left out and the rest
//! still means something.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use abi::Call;

/// What a number is counted from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Base {
    /// Nothing.
    Zero,
    /// The handle that a step gave.
    Handle(u32),
    /// The address that a step gave.
    Address(u32),
}

/// An argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Argument {
    /// What it is counted from.
    pub base: Base,
    /// What is added, with wrapping.
    pub plus: u64,
}

/// What is done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// A call with `x1` and on.
    Call(Call, Vec<Argument>),
    /// The handles are stored in a buffer, which is closed by `handle_close_many` and filled with zeros.
    CloseMany(Argument, Vec<Argument>),
    /// Eight bytes are loaded.
    Load(Argument),
    /// Eight bytes are stored.
    Store(Argument, u64),
    /// An instruction is fetched.
    Fetch(Argument),
}

/// A step of a program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// Its number, which no other step of the program has.
    pub id: u32,
    /// What is done.
    pub action: Action,
}

/// What steps have given: by the number of the step a handle and an address.
#[derive(Clone, Debug, Default)]
pub struct Given {
    handles: HashMap<u32, u64>,
    addresses: HashMap<u32, u64>,
}

/// Stands for a handle or an address that was not given.
const NONE: u64 = 0x0bad_0002;

impl Given {
    /// Takes note of what a call has returned.
    pub fn note(&mut self, id: u32, call: Call, results: &[u64]) {
        match call {
            Call::VmarMap => drop(self.addresses.insert(id, results[0])),
            Call::VmarAllocate => {
                self.handles.insert(id, results[0]);
                self.addresses.insert(id, results[1]);
            }
            call if gives_handle(call) => drop(self.handles.insert(id, results[0])),
            _ => {}
        }
    }

    /// Returns the value of an argument.
    pub fn value(&self, argument: Argument) -> u64 {
        let base = match argument.base {
            Base::Zero => 0,
            Base::Handle(id) => self.handles.get(&id).copied().unwrap_or(NONE),
            Base::Address(id) => self.addresses.get(&id).copied().unwrap_or(NONE),
        };
        base.wrapping_add(argument.plus)
    }

    /// Returns the values of a call's arguments, the rest of them 0.
    pub fn values(&self, arguments: &[Argument]) -> [u64; 8] {
        let mut values = [0; 8];
        for (value, argument) in values.iter_mut().zip(arguments) {
            *value = self.value(*argument);
        }
        values
    }

    /// Returns the steps that gave handles, in ascending order, and the handles.
    pub fn handles(&self) -> Vec<(u32, u64)> {
        let mut handles: Vec<_> = self.handles.iter().map(|(id, handle)| (*id, *handle)).collect();
        handles.sort_unstable();
        handles
    }

    /// Returns the step that gave an address of that value.
    pub fn giver_of(&self, address: u64) -> Option<u32> {
        self.addresses.iter().filter(|(_, value)| **value == address).map(|(id, _)| *id).max()
    }
}

/// Tells whether the call returns a handle in `x1`.
pub const fn gives_handle(call: Call) -> bool {
    matches!(
        call,
        Call::StartupHandle
            | Call::HandleDuplicate
            | Call::HandleReplace
            | Call::VmarAllocate
            | Call::VmoCreate
            | Call::VmoCreateChild
            | Call::VmoCreateContiguous
            | Call::VmoReplaceAsExecutable
            | Call::VmoCreatePhysical
            | Call::BtiCreate
            | Call::BtiPin
    )
}

impl From<u64> for Argument {
    fn from(plus: u64) -> Self {
        Self { base: Base::Zero, plus }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base {
            Base::Zero => return write!(f, "{:#x}", self.plus),
            Base::Handle(id) => write!(f, "h{id}")?,
            Base::Address(id) => write!(f, "a{id}")?,
        }
        if self.plus == 0 { Ok(()) } else { write!(f, "+{:#x}", self.plus) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id)?;
        let list = |f: &mut fmt::Formatter<'_>, arguments: &[Argument]| {
            arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
        };
        match &self.action {
            Action::Call(call, arguments) => {
                write!(f, "{call:?}")?;
                list(f, arguments)
            }
            Action::CloseMany(buffer, handles) => {
                write!(f, "CloseMany {buffer}")?;
                list(f, handles)
            }
            Action::Load(at) => write!(f, "Load {at}"),
            Action::Store(at, value) => write!(f, "Store {at} {value:#x}"),
            Action::Fetch(at) => write!(f, "Fetch {at}"),
        }
    }
}

/// Returns a program's text.
pub fn render(steps: &[Step]) -> String {
    steps.iter().map(|step| format!("{step}\n")).collect()
}

/// Reads a program's text, in which empty lines mean nothing.
///
/// # Errors
///
/// The line that means nothing.
pub fn parse(text: &str) -> Result<Vec<Step>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| step(line).ok_or_else(|| line.to_owned())).collect()
}

fn step(line: &str) -> Option<Step> {
    let mut words = line.split_ascii_whitespace();
    let id = words.next()?.parse().ok()?;
    let name = words.next()?;
    let arguments: Vec<Argument> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let first = arguments.first().copied();
    let action = match name {
        "Load" => Action::Load(first?),
        "Store" => Action::Store(first?, arguments.get(1)?.plus),
        "Fetch" => Action::Fetch(first?),
        "CloseMany" => Action::CloseMany(first?, arguments[1..].to_vec()),
        name => Action::Call(call(name)?, arguments),
    };
    Some(Step { id, action })
}

fn call(name: &str) -> Option<Call> {
    (0..0x100u32).filter_map(|number| Call::try_from(number).ok()).find(|call| format!("{call:?}") == name)
}

impl FromStr for Argument {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let (head, plus) = match word.split_once('+') {
            Some((head, plus)) => (head, number(plus)?),
            None => (word, 0),
        };
        let id = || head[1..].parse().map_err(|_| ());
        match head.as_bytes().first() {
            Some(b'h') => Ok(Self { base: Base::Handle(id()?), plus }),
            Some(b'a') => Ok(Self { base: Base::Address(id()?), plus }),
            _ => number(word).map(Self::from),
        }
    }
}

fn number(word: &str) -> Result<u64, ()> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).map_err(|_| ()),
        None => word.parse().map_err(|_| ()),
    }
}
