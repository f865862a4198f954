//! Replays programs of calls and accesses that the host has made, with what has to come of every step: statuses, results, and what
//! pages hold. What is free, the values of handles and koids, is learnt when it is first seen.
//!
//! A step that comes to something else is told, and ends the VM with 1.
#![no_std]
#![no_main]

mod format;

use abi::{Call, PAGE_SIZE, Status};
use format::{ADDRESS, CALL, DIGEST, END, FETCH, HANDLES, KOID, KOIDS, LOAD, NEXT, PROGRAM, STEPS, STORE, digest};
use guest::{Env, ExitStatus, entry, println, probe};
use zx::sys;

entry!(main);

fn main(_: &Env) -> ExitStatus {
    let mut player = Player { at: PROGRAM, program: 0, step: 0, calls: 0, handles: [0; STEPS], koids: [0; KOIDS] };
    loop {
        match player.entry() {
            Some(true) => {}
            Some(false) => break,
            None => return ExitStatus(1),
        }
    }
    println!("REPLAYED {} calls", player.calls);
    ExitStatus::SUCCESS
}

/// Where the guest is in its programs.
struct Player {
    /// The address of the next word.
    at: u64,
    program: u64,
    step: u64,
    calls: u64,
    /// By the number of a step the handle that it gave.
    handles: [u64; STEPS],
    /// By the program's number of an object its koid.
    koids: [u64; KOIDS],
}

impl Player {
    /// Carries out an entry. Tells whether there are more, or nothing where it came to something else than it should.
    fn entry(&mut self) -> Option<bool> {
        let head = self.word();
        self.step = head >> 32;
        let is_as_expected = match head as u8 {
            END => return Some(false),
            CALL => self.call(head),
            LOAD => self.load(),
            STORE => self.store(),
            FETCH => self.fetch(),
            HANDLES => self.store_handles(),
            KOID => self.koid(),
            ADDRESS => self.address(),
            DIGEST => self.digest(),
            NEXT => self.begin(),
            kind => panic!("{kind} is no kind of entry"),
        };
        is_as_expected.then_some(true)
    }

    fn word(&mut self) -> u64 {
        let word = probe::load(self.at).expect("the program can be read");
        self.at += 8;
        word
    }

    fn argument(&mut self) -> u64 {
        let (base, plus) = (self.word(), self.word());
        let base = base.checked_sub(1).map_or(0, |step| self.handles[step as usize]);
        base.wrapping_add(plus)
    }

    fn call(&mut self, head: u64) -> bool {
        let (number, arguments, results) = (head >> 8 & 0xff, head >> 16 & 0xff, head >> 24 & 0xff);
        let call = Call::try_from(number as u32).expect("a call that is known");
        let mut x = [0; 9];
        x[0] = call.function_id().into();
        for argument in &mut x[1..=arguments as usize] {
            *argument = self.argument();
        }
        let given = x;
        x = sys::hvc(x);
        self.calls += 1;
        let expected = self.word();
        let mut is_right = x[0] == expected;
        for seen in &x[1..=results as usize] {
            let (is_free, value) = (self.word() != 0, self.word());
            if is_free {
                self.handles[value as usize] = *seen;
            } else {
                is_right &= *seen == value;
            }
        }
        is_right &= x[1 + results as usize..] == given[1 + results as usize..];
        if !is_right {
            let (seen, expected) = (Status::from_register(x[0]), Status::from_register(expected));
            self.tell(format_args!("{call:?} {:x?} gave {seen:?} {:x?}, expected {expected:?}", &given[1..], &x[1..4]));
        }
        is_right
    }

    fn load(&mut self) -> bool {
        let (address, is_done, value) = (self.word(), self.word() != 0, self.word());
        let seen = probe::load(address).ok();
        self.check(seen == is_done.then_some(value), format_args!("a load at {address:#x} found {seen:x?}"))
    }

    fn store(&mut self) -> bool {
        let (address, is_done, value) = (self.word(), self.word() != 0, self.word());
        let seen = probe::store(address, value).is_ok();
        self.check(seen == is_done, format_args!("a store at {address:#x} was done: {seen}"))
    }

    fn fetch(&mut self) -> bool {
        let (address, is_done) = (self.word(), self.word() != 0);
        let seen = probe::execute(address).is_ok();
        self.check(seen == is_done, format_args!("a fetch at {address:#x} was done: {seen}"))
    }

    fn store_handles(&mut self) -> bool {
        let (address, low, high) = (self.word(), self.argument(), self.argument());
        let is_done = probe::store(address, low & 0xffff_ffff | high << 32).is_ok();
        self.check(is_done, format_args!("a store at {address:#x} was not done"))
    }

    fn koid(&mut self) -> bool {
        let (address, known) = (self.word(), self.word());
        let seen = probe::load(address).unwrap_or(0);
        let is_new = self.koids[known as usize] == 0 && seen != 0 && !self.koids.contains(&seen);
        if is_new {
            self.koids[known as usize] = seen;
        }
        let is_right = (seen == 0) == (known == 0) && (known == 0 || self.koids[known as usize] == seen);
        let is_stored = probe::store(address, known).is_ok();
        self.check(is_right && is_stored, format_args!("the koid of object {known} at {address:#x} is {seen}"))
    }

    fn address(&mut self) -> bool {
        let address = self.word();
        let seen = probe::load(address).unwrap_or(0);
        let is_right = seen != 0 && seen.is_multiple_of(PAGE_SIZE) && probe::store(address, 0).is_ok();
        self.check(is_right, format_args!("the physical address at {address:#x} is {seen:#x}"))
    }

    fn digest(&mut self) -> bool {
        let (address, expected) = (self.word(), self.word());
        let words = (address..address + PAGE_SIZE).step_by(8);
        let seen = words.map(probe::load).try_fold(0, |so_far, word| word.map(|word| digest(so_far, word)));
        self.check(
            seen.is_ok_and(|seen| seen == expected),
            format_args!("the page at {address:#x} has the digest {seen:x?}"),
        )
    }

    fn begin(&mut self) -> bool {
        self.program = self.word();
        (self.handles, self.koids) = ([0; STEPS], [0; KOIDS]);
        true
    }

    fn check(&self, is_right: bool, what: core::fmt::Arguments<'_>) -> bool {
        if !is_right {
            self.tell(what);
        }
        is_right
    }

    fn tell(&self, what: core::fmt::Arguments<'_>) {
        println!("program {} step {}: {what}", self.program, self.step);
    }
}
