//! Programs at random, in which things meet: few pages, few handles, numbers at the edges. What is likely to work is looked up
//! in the model; a part of the arguments is then spoilt.

use abi::{Call, RAM_BASE, Topic, VmOptions};

use crate::memory::MAX_SIZE;
use crate::program::{Action, Argument, Base, Given};
use crate::random::Random;
use crate::{Access, HandleKind, Model, P};

/// Where most of it happens.
pub(crate) const FIELD: u64 = 0x8000_0000;
/// How many pages of it are used.
pub(crate) const FIELD_PAGES: u64 = 24;
/// The most pages that a step may ask for.
const MOST_PAGES: u64 = 1200;
/// The most pages that there may be.
const MOST_IN_ALL: usize = 3000;

/// What a generator may do.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The calls that are not made.
    pub without: &'static [Call],
    /// Whether the program runs in the VM itself: the root VMAR, the RAM and free places are left alone then.
    pub is_inside: bool,
}

/// Makes steps up.
pub struct Generator<'a> {
    /// Where numbers come from.
    pub random: &'a mut Random,
    /// What has happened so far.
    pub model: &'a Model,
    /// What steps have given.
    pub given: &'a Given,
    /// What may be done.
    pub world: World,
}

/// How often each call is made, of 1000 times or so.
const CALLS: &[(u64, Call)] = &[
    (10, Call::StartupHandle),
    (45, Call::HandleClose),
    (45, Call::HandleDuplicate),
    (15, Call::HandleReplace),
    (80, Call::ObjectGetInfo),
    (12, Call::ObjectGetProperty),
    (12, Call::ObjectSetProperty),
    (12, Call::ObjectWaitOne),
    (60, Call::VmarAllocate),
    (140, Call::VmarMap),
    (60, Call::VmarUnmap),
    (60, Call::VmarProtect),
    (14, Call::VmarDestroy),
    (90, Call::VmarOpRange),
    (40, Call::VmoCreate),
    (90, Call::VmoCreateChild),
    (35, Call::VmoRead),
    (50, Call::VmoWrite),
    (10, Call::VmoGetSize),
    (35, Call::VmoSetSize),
    (90, Call::VmoOpRange),
    (10, Call::VmoCreateContiguous),
    (12, Call::VmoReplaceAsExecutable),
    (16, Call::VmoSetCachePolicy),
    (10, Call::VmoCreatePhysical),
    (6, Call::BtiCreate),
    (40, Call::BtiPin),
    (20, Call::PmtUnpin),
];

impl Generator<'_> {
    /// Returns the first steps of a program: a root to work in, VMOs, and what pins need.
    pub fn prologue(world: World, has_mmio: bool) -> Vec<Action> {
        let call = |call, arguments: &[u64]| Action::Call(call, arguments.iter().map(|a| Argument::from(*a)).collect());
        let of = |id, rest: &[u64]| {
            let handle = Argument { base: Base::Handle(id), plus: 0 };
            [handle].into_iter().chain(rest.iter().map(|a| Argument::from(*a))).collect()
        };
        let region = VmOptions::CAN_MAP_ACCESS | VmOptions::CAN_MAP_SPECIFIC | VmOptions::SPECIFIC;
        let field = of(0, &[u64::from(region.bits()), FIELD, 4096 * P]);
        let mut steps = vec![
            call(Call::StartupHandle, &[1]),
            call(Call::VmoCreate, &[8 * P, 0]),
            call(Call::VmoCreate, &[6 * P, 2]),
        ];
        if world.is_inside {
            steps.push(Action::Call(Call::VmarAllocate, field));
        }
        if has_mmio && !world.without.contains(&Call::BtiCreate) {
            steps.push(call(Call::StartupHandle, &[4]));
            steps.push(Action::Call(Call::BtiCreate, of(steps.len() as u32 - 1, &[])));
        }
        steps
    }

    /// Returns the next step. It asks for no more memory than there is, and its outcome is not left open.
    pub fn step(&mut self) -> Action {
        loop {
            let action = self.any_step();
            let is_good = match &action {
                Action::Call(call, arguments) => {
                    let values = self.given.values(arguments);
                    let is_apart =
                        !self.world.is_inside || is_certain(*call, arguments) && self.is_inside(*call, &values);
                    is_apart && self.is_affordable(*call, &values) && !self.model.is_open(*call, &values)
                }
                _ => true,
            };
            if is_good {
                return action;
            }
        }
    }

    fn any_step(&mut self) -> Action {
        match self.random.below(100) {
            0..10 => Action::Load(self.place(8)),
            10..22 => Action::Store(self.place(8), self.random.below(1 << 20)),
            22..25 => Action::Fetch(self.place(8)),
            25..27 => {
                let handles = (0..self.random.below(4)).map(|_| self.any_handle()).collect();
                Action::CloseMany(self.place(4), handles)
            }
            _ => self.missing().unwrap_or_else(|| self.any_call()),
        }
    }

    /// Returns a call that makes a handle of a kind of which there is none, most often.
    fn missing(&mut self) -> Option<Action> {
        let given = self.given.handles();
        let has =
            |kind| given.iter().any(|(_, handle)| self.model.kind_of(*handle) == Some(kind) && self.may_use(*handle));
        let (has_vmar, has_vmo) = (has(HandleKind::Vmar), has(HandleKind::Vmo));
        if self.random.once_in(4) {
            return None;
        }
        match (has_vmar || self.world.is_inside, has_vmo) {
            (false, _) => Some(Action::Call(Call::StartupHandle, vec![1.into()])),
            (true, false) => Some(Action::Call(Call::VmoCreate, self.likely(Call::VmoCreate))),
            (true, true) => None,
        }
    }

    fn any_call(&mut self) -> Action {
        let call = loop {
            let mut at = self.random.below(CALLS.iter().map(|(weight, _)| weight).sum());
            let chosen = CALLS.iter().find(|(weight, _)| {
                let is_here = at < *weight;
                at = at.saturating_sub(*weight);
                is_here
            });
            let (_, call) = chosen.expect("the number is below the sum");
            if !self.world.without.contains(call) {
                break *call;
            }
        };
        let mut arguments = self.likely(call);
        if self.random.once_in(6) {
            self.spoil(&mut arguments);
        }
        Action::Call(call, arguments)
    }

    /// Puts something else in the place of an argument.
    fn spoil(&mut self, arguments: &mut [Argument]) {
        if arguments.is_empty() {
            return;
        }
        let at = self.random.below(arguments.len() as u64) as usize;
        let old = arguments[at];
        arguments[at] = match self.random.below(12) {
            0 => Argument { plus: old.plus.wrapping_add(1 << 32), ..old },
            1 => Argument { plus: old.plus.wrapping_add(1), ..old },
            2 => Argument { plus: old.plus.wrapping_sub(P), ..old },
            3 => Argument { plus: old.plus.wrapping_add(P), ..old },
            4 => Argument { plus: old.plus ^ 1 << self.random.below(34), ..old },
            5 => Argument::from(1 << self.random.below(64)),
            6 => Argument::from(u64::MAX - self.random.below(2) * (P - 1) - self.random.below(3) * P),
            7 => Argument::from(MAX_SIZE.wrapping_add(P).wrapping_sub(self.random.below(3) * P)),
            8 => Argument::from(self.random.below(64)),
            9 => Argument::from(0),
            _ => self.any_handle(),
        };
    }

    /// Tells whether the call leaves the program that runs it alone.
    fn is_inside(&self, call: Call, values: &[u64; 8]) -> bool {
        let ram = RAM_BASE - (1 << 30)..RAM_BASE + self.model.config().ram_bytes + (1 << 20);
        let is_near = |value: &u64| ram.contains(value) && *value > 1 << 28;
        let is_kept = |value: &u64| self.model.kind_of(*value).is_some() && !self.may_use(*value);
        let is_startup = call == Call::StartupHandle && matches!(values[0], 1 | 2);
        let is_unaligned = match call {
            Call::ObjectGetInfo => !values[2].is_multiple_of(8),
            Call::BtiPin => !values[5].is_multiple_of(8),
            _ => false,
        };
        // The guest that replays the program has handles of its own to the VM.
        let is_counted = call == Call::ObjectGetInfo
            && values[1] == u64::from(u32::from(Topic::HandleCount))
            && self.model.kind_of(values[0]) == Some(HandleKind::Vm);
        let is_left_alone = !is_startup && !is_unaligned && !is_counted && !self.model.may_choose(call, values);
        is_left_alone && !values.iter().any(|value| is_near(value) || is_kept(value))
    }

    /// Tells whether the call needs no more memory than a small machine has.
    fn is_affordable(&self, call: Call, values: &[u64; 8]) -> bool {
        let lens: &[usize] = match call {
            Call::VmoOpRange | Call::VmarOpRange | Call::VmoRead | Call::VmoWrite => &[3],
            Call::ObjectGetInfo | Call::ObjectSetProperty | Call::ObjectGetProperty => &[3],
            Call::BtiPin => &[4, 6],
            Call::VmoCreateContiguous => &[0],
            Call::HandleCloseMany => &[1],
            _ => &[],
        };
        let pages = lens.iter().map(|at| values[*at].div_ceil(P)).max().unwrap_or(0);
        // No VMAR holds a range of 2^48 bytes, but a VMO may.
        let is_never = pages >> 36 != 0 && !matches!(call, Call::VmoOpRange | Call::BtiPin | Call::VmoCreateContiguous);
        let is_outside = call == Call::VmoOpRange
            && self
                .model
                .vmo_size(values[0])
                .is_none_or(|size| values[2].checked_add(values[3]).is_none_or(|end| end > size));
        let is_far_aligned = call == Call::VmoCreateContiguous && (22..64).contains(&values[1]);
        let is_long = call == Call::ObjectWaitOne && values[2] as i64 > 10_000;
        !is_far_aligned
            && !is_long
            && (is_never
                || is_outside
                || pages <= MOST_PAGES && self.model.page_count() as u64 + pages <= MOST_IN_ALL as u64)
    }
}

/// Tells whether handles stand only where a handle is wanted, as they are or with a high half: their values are not known.
fn is_certain(call: Call, arguments: &[Argument]) -> bool {
    let wants_handle = |at: usize| match call {
        Call::VmarMap => at == 0 || at == 3,
        Call::BtiPin => at == 0 || at == 2,
        Call::StartupHandle | Call::VmoCreate | Call::VmoCreateContiguous => false,
        _ => at == 0,
    };
    arguments.iter().enumerate().all(|(at, argument)| {
        !matches!(argument.base, Base::Handle(_)) || wants_handle(at) && matches!(argument.plus, 0 | 0x1_0000_0000)
    })
}

impl Model {
    /// Tells whether the contract leaves open what the call does: it copies between ranges that overlap, or reports on memory
    /// that its own report takes.
    pub fn is_open(&self, call: Call, values: &[u64; 8]) -> bool {
        match call {
            Call::VmoRead => self.overlaps(values[0], values[2], values[3], values[1], Access::Write),
            Call::VmoWrite => self.overlaps(values[0], values[2], values[3], values[1], Access::Read),
            Call::ObjectGetInfo if values[1] == u64::from(u32::from(Topic::VmarMaps)) => {
                self.grows(values[2], values[3])
            }
            _ => false,
        }
    }
}
