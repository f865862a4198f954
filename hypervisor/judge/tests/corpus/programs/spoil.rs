//! Programs as lines, and what becomes of them when a step is spoiled.

/// A step without which a program is wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Mark {
    /// The DSB between a store and the first TLBI.
    StoreBarrier,
    /// A TLBI by address.
    Stage2,
    /// The DSB between the TLBIs.
    MiddleBarrier,
    /// The TLBI of stage 1.
    Stage1,
    /// The TLBI of a VMID, or of all.
    Whole,
    /// The DSB at the end.
    LastBarrier,
    /// The store that breaks what leads elsewhere then.
    Break,
    /// The DSB after an entry became valid.
    Publish,
    /// The store-release that links a table.
    Link,
    /// The zeroing of a frame.
    Zero,
    /// The DSB between the zeros and the entry.
    DataBarrier,
    /// The ISB that puts a VMID in effect.
    Borrow,
    /// The invalidation at a rollover.
    RollOver,
    /// The return of a frame to the allocator.
    Free,
    /// The invalidation of instruction caches.
    Fetch,
}

impl Mark {
    pub(super) const ALL: &[Self] = &[
        Self::StoreBarrier,
        Self::Stage2,
        Self::MiddleBarrier,
        Self::Stage1,
        Self::Whole,
        Self::LastBarrier,
        Self::Break,
        Self::Publish,
        Self::Link,
        Self::Zero,
        Self::DataBarrier,
        Self::Borrow,
        Self::RollOver,
        Self::Free,
        Self::Fetch,
    ];

    /// Returns the rules of which one is right where this is spoiled. R5a stands for all that is asked of a block with nT.
    const fn rules(self) -> &'static [&'static str] {
        match self {
            Self::StoreBarrier => &["R9", "R5a"],
            Self::Stage2 => &["R8", "R10", "R13", "R19", "R25"],
            Self::MiddleBarrier => &["R11", "R10", "R5a"],
            Self::Stage1 => &["R11", "R10", "R5a"],
            Self::Whole => &["R8", "R10", "R13", "R5a"],
            Self::LastBarrier => &["R10", "R5a"],
            Self::Break => &["R1"],
            Self::Publish => &["R28"],
            Self::Link => &["R29"],
            Self::Zero => &["R34"],
            Self::DataBarrier => &["R29a"],
            Self::Borrow => &["R27b", "R5a"],
            Self::RollOver => &["R27"],
            Self::Free => &["R33"],
            Self::Fetch => &["R37"],
        }
    }
}

/// A line, and what it is worth.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) mark: Option<Mark>,
    /// Another CPU may hold what this is about.
    pub(super) is_for_others: bool,
}

/// A program that is written.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) lines: Vec<Line>,
}

/// A program with a step spoiled.
#[derive(Clone, Debug)]
pub(super) struct Spoiled {
    pub(super) text: String,
    /// Which one, and how.
    pub(super) what: String,
    /// The line from which on it shows.
    pub(super) line: u64,
    /// One of them is broken by it.
    pub(super) rules: &'static [&'static str],
}

impl Program {
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> {
        self.lines.iter().filter_map(|line| line.mark)
    }

    /// Spoils one of the marked steps, or returns `None` where there is none.
    pub(super) fn spoil(&self, which: usize, how: usize) -> Option<Spoiled> {
        let marked: Vec<_> = (0..self.lines.len()).filter(|at| self.lines[*at].mark.is_some()).collect();
        let at = *marked.get(which % marked.len().max(1))?;
        let (mark, text) = (self.lines[at].mark?, self.lines[at].text.clone());
        let mut spoiled = self.clone();
        let (at, becomes) = match mark {
            Mark::Free => spoiled.hurry(at),
            _ => (at, spoiled.weaken(at, mark, how)),
        };
        let what = format!("line {}, {mark:?}: `{text}` {becomes}", at + 1);
        Some(Spoiled { text: spoiled.text(), what, line: at as u64 + 1, rules: mark.rules() })
    }

    /// Moves a line up, before the invalidation that it should wait for.
    fn hurry(&mut self, at: usize) -> (usize, String) {
        let line = self.lines.remove(at);
        let cpu = line.text.split(' ').next().map(String::from);
        let is_its =
            |other: &Line| other.mark == Some(Mark::StoreBarrier) && other.text.split(' ').next() == cpu.as_deref();
        let target = self.lines[..at].iter().rposition(is_its).unwrap_or(0);
        self.lines.insert(target, line);
        (target, "comes here".into())
    }

    fn weaken(&mut self, at: usize, mark: Mark, how: usize) -> String {
        let choices = weaker(&self.lines[at], mark);
        // Without the store that links a table there is nothing wrong: nothing is mapped.
        let ways = if mark == Mark::Link { choices.len() } else { choices.len() + 1 };
        match choices.get(how % ways) {
            Some(weaker) => {
                self.lines[at].text.clone_from(weaker);
                format!("becomes `{weaker}`")
            }
            None => {
                self.lines.remove(at);
                "is left out".into()
            }
        }
    }
}

/// Returns what a line may become so that the program is wrong.
fn weaker(line: &Line, mark: Mark) -> Vec<String> {
    let nearby = |weaker: String| line.is_for_others.then_some(weaker);
    let line = line.text.as_str();
    match mark {
        Mark::StoreBarrier | Mark::DataBarrier | Mark::Publish => vec![with_type(line, "ld")],
        Mark::MiddleBarrier | Mark::LastBarrier => {
            let narrow = nearby(with_field(line, "dom=", "nsh"));
            [with_type(line, "st"), with_type(line, "ld")].into_iter().chain(narrow).collect()
        }
        Mark::Stage1 | Mark::Whole => nearby(local(line)).into_iter().collect(),
        Mark::Stage2 => nearby(local(line)).into_iter().chain([elsewhere(line)]).collect(),
        Mark::Link => vec![with_field(line, "order=", "plain")],
        Mark::Break | Mark::Zero | Mark::Borrow | Mark::RollOver | Mark::Free | Mark::Fetch => Vec::new(),
    }
}

fn with_type(line: &str, kind: &str) -> String {
    with_field(line, "type=", kind)
}

fn with_field(line: &str, key: &str, value: &str) -> String {
    let words = line.split(' ').map(|word| if word.starts_with(key) { format!("{key}{value}") } else { word.into() });
    words.collect::<Vec<_>>().join(" ")
}

/// The form that reaches the CPU itself only.
fn local(line: &str) -> String {
    let words = line.split(' ').map(|word| match word.strip_prefix("op=") {
        Some(op) => format!("op={}", op.trim_end_matches("is").trim_end_matches("os")),
        None => word.into(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Another address, far away.
fn elsewhere(line: &str) -> String {
    let xt = line.split("xt=0x").nth(1).and_then(|xt| u64::from_str_radix(xt, 16).ok()).unwrap_or(0);
    with_field(line, "xt=", &format!("{:#x}", xt ^ 1 << 24))
}
