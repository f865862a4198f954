//! Makes a random program, has the model say what comes of it, and writes both down for the guest.

use abi::{Call, Status, Topic};
use model::program::{Action, Argument, Base, Given, Step, render};
use model::{Access, Config, Generator, Model, P, Random, World};

use super::WITHOUT;
use super::format::{ADDRESS, CALL, DIGEST, END, FETCH, HANDLES, KOID, KOIDS, LOAD, NEXT, STEPS, STORE, digest};

/// The instruction `RET`.
const RET: u64 = 0xd65f_03c0;
/// How many steps a program has, its end not counted.
const LENGTH: u64 = 80;
/// The most pages that are looked at in the end.
const MOST_PAGES: usize = 16;

const WORLD: World = World { without: WITHOUT, is_inside: true };

/// Programs for one boot.
#[derive(Default)]
pub(crate) struct Recording {
    /// What the guest reads.
    pub(crate) words: Vec<u64>,
    /// How many calls it makes.
    pub(crate) calls: u64,
    /// The programs as text.
    pub(crate) texts: Vec<String>,
}

impl Recording {
    /// Records programs until there are so many calls.
    pub(crate) fn new(config: Config, seed: u64, calls: u64) -> Self {
        let mut recording = Self::default();
        let mut random = Random(seed);
        while recording.calls < calls {
            recording.words.extend([u64::from(NEXT), recording.texts.len() as u64]);
            let mut writer = Writer {
                recording: &mut recording,
                model: Model::new(config),
                given: Given::default(),
                step: 0,
                steps: Vec::new(),
            };
            writer.write_program(&mut random);
            let text = render(&writer.steps);
            recording.texts.push(text);
        }
        recording.words.push(u64::from(END));
        recording
    }

    /// Returns the words as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// A program that is being recorded.
struct Writer<'a> {
    recording: &'a mut Recording,
    model: Model,
    given: Given,
    step: u32,
    steps: Vec<Step>,
}

impl Writer<'_> {
    fn write_program(&mut self, random: &mut Random) {
        let mut prologue = Generator::prologue(WORLD, true).into_iter();
        for id in 0..LENGTH as u32 {
            let action = prologue
                .next()
                .unwrap_or_else(|| Generator { random, model: &self.model, given: &self.given, world: WORLD }.step());
            self.write_step(Step { id, action });
        }
        self.write_pages();
        self.write_end();
    }

    fn write_step(&mut self, step: Step) {
        self.step = step.id;
        match &step.action {
            Action::Call(call, arguments) => self.write_call(*call, arguments),
            Action::CloseMany(at, handles) => self.write_close_many(self.given.value(*at) & !7, handles),
            Action::Load(at) => {
                let address = self.given.value(*at) & !7;
                let value = self.model.load(address);
                self.put(LOAD, &[address, u64::from(value.is_some()), value.unwrap_or(0)]);
            }
            Action::Store(at, value) => self.write_store(self.given.value(*at) & !7, *value),
            Action::Fetch(at) => self.write_fetch(self.given.value(*at) & !7),
        }
        self.steps.push(step);
    }

    fn put(&mut self, kind: u8, operands: &[u64]) {
        self.recording.words.push(u64::from(kind) | u64::from(self.step) << 32);
        self.recording.words.extend(operands);
    }

    fn write_store(&mut self, address: u64, value: u64) {
        let is_done = self.model.store(address, value);
        self.put(STORE, &[address, u64::from(is_done), value]);
    }

    /// What is fetched must be a RET; where none can be put there none is fetched.
    fn write_fetch(&mut self, address: u64) {
        let is_allowed = self.model.touch(address, Access::Execute);
        let is_ret = |model: &Model| model.load(address).is_some_and(|word| word as u32 == RET as u32);
        if is_allowed && !is_ret(&self.model) {
            self.write_store(address, RET);
        }
        if !is_allowed || is_ret(&self.model) {
            self.put(FETCH, &[address, u64::from(is_allowed)]);
        }
    }

    fn write_call(&mut self, call: Call, arguments: &[Argument]) {
        let values = self.given.values(arguments);
        let answer = self.model.call(call, &values, None);
        self.recording.calls += 1;
        let operands =
            u64::from(u32::from(call)) << 8 | (arguments.len() as u64) << 16 | (answer.results.len() as u64) << 24;
        self.put(CALL, &[]);
        *self.recording.words.last_mut().expect("the head") |= operands;
        for argument in arguments {
            let words = self.counted(*argument);
            self.recording.words.extend(words);
        }
        self.recording.words.push(answer.status.to_register());
        let is_done = answer.status == Status::OK;
        for (number, result) in answer.results.iter().enumerate() {
            let is_handle = is_done && number == 0 && model::program::gives_handle(call);
            let operands = if is_handle { [1, u64::from(self.step)] } else { [0, *result] };
            self.recording.words.extend(operands);
        }
        if is_done {
            self.given.note(self.step, call, &answer.results);
        }
        for ipa in &answer.koids {
            let koid = self.model.load(*ipa).expect("it was just written");
            assert!((koid as usize) < KOIDS, "koids are few");
            self.put(KOID, &[*ipa, koid]);
        }
        for (ipa, _) in &answer.addresses {
            self.put(ADDRESS, &[*ipa]);
        }
        let is_info = call == Call::ObjectGetInfo && values[1] != u64::from(u32::from(Topic::HandleBasic));
        if is_done && (is_info || call == Call::VmoRead) && self.step.is_multiple_of(4) {
            let buffer = if is_info { values[2] } else { values[1] };
            self.write_digest(buffer / P * P);
        }
    }

    /// Returns an argument as the guest reads it: addresses are known, handles are not.
    fn counted(&self, argument: Argument) -> [u64; 2] {
        match argument.base {
            Base::Handle(id) if self.given.value(Argument { plus: 0, ..argument }) != self.given.value(NONE) => {
                assert!((id as usize) < STEPS, "steps are few");
                [u64::from(id) + 1, argument.plus]
            }
            _ => [0, self.given.value(argument)],
        }
    }

    /// Stores handles two by two, closes them, and stores zeros.
    fn write_close_many(&mut self, buffer: u64, handles: &[Argument]) {
        let mut stored = Vec::new();
        let nothing = Argument::from(0);
        for (at, pair) in (buffer..).step_by(8).zip(handles.chunks(2)) {
            let pair = [pair[0], *pair.get(1).unwrap_or(&nothing)];
            let [low, high] = pair.map(|handle| self.given.value(handle) & 0xffff_ffff);
            if self.model.store(at, low | high << 32) {
                let [low, high] = pair.map(|handle| self.counted(handle));
                self.put(HANDLES, &[at, low[0], low[1], high[0], high[1]]);
                stored.push(at);
            }
        }
        self.write_call(Call::HandleCloseMany, &[buffer.into(), (handles.len() as u64).into()]);
        for at in stored {
            self.write_store(at, 0);
        }
    }

    fn write_digest(&mut self, page: u64) {
        if let Some(view) = self.model.page_at(page) {
            let all = (0..P as usize).step_by(8).fold(0, |so_far, offset| digest(so_far, view.word(offset)));
            self.put(DIGEST, &[page, all]);
        }
    }

    /// Looks at what mappings show, and at what a page behind each allows.
    fn write_pages(&mut self) {
        self.step = LENGTH as u32;
        let mut pages: Vec<u64> = Vec::new();
        for mapping in self.model.mappings().iter().filter(|mapping| mapping.base >= super::FIELD) {
            let count = mapping.size / P;
            pages.extend((0..count.min(6)).chain([count - 1, count]).map(|page| mapping.base + page * P));
        }
        pages.dedup();
        for page in pages.into_iter().take(MOST_PAGES) {
            match self.model.page_at(page) {
                Some(_) => self.write_digest(page),
                None => self.put(LOAD, &[page, 0, 0]),
            }
            self.write_store(page, page);
        }
    }

    /// Takes away all that the program has made.
    fn write_end(&mut self) {
        let field = Argument { base: Base::Handle(super::FIELD_STEP), plus: 0 };
        if self.model.kind_of(self.given.value(field)).is_some() {
            self.write_call(Call::VmarDestroy, &[field]);
        } else {
            let root = Argument { base: Base::Handle(0), plus: 0 };
            self.write_call(Call::VmarUnmap, &[root, super::FIELD.into(), super::FIELD_BYTES.into()]);
        }
        for (id, handle) in self.given.handles() {
            if self.model.kind_of(handle).is_some() {
                self.write_call(Call::HandleClose, &[Argument { base: Base::Handle(id), plus: 0 }]);
            }
        }
    }
}

/// An argument that no step gives.
const NONE: Argument = Argument { base: Base::Handle(u32::MAX), plus: 0 };
