//! Lines as events.

use core::fmt;

use vmsa::{Hpa, Ipa, IpaRange, PAGE_SIZE, Perms};

use super::names::{ACCESSES, DC_OPS, DOMAINS, KINDS, ORDERS, REGISTERS, WORKS, meaning, tlbi};
use crate::{DcOp, Event, Frames, Machine, Register};

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line {
    /// Nothing: it is blank, or a comment.
    Nothing,
    /// How strict to be.
    Policy(Policy),
    /// What the machine is.
    Machine(Machine),
    /// What happens, and on which CPU.
    Event(usize, Event),
}

/// How strict to be, where that is more than the machine asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// The level of FEAT_BBM that may be used.
    pub bbm: Option<u8>,
}

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Malformed<'l> {
    /// There is no such event.
    Event(&'l str),
    /// The field is not there.
    Missing(&'static str),
    /// The field says something that it cannot.
    Value(&'static str, &'l str),
    /// The word is not a field.
    Word(&'l str),
}

impl fmt::Display for Malformed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(name) => write!(f, "there is no event `{name}`"),
            Self::Missing(key) => write!(f, "`{key}=` is missing"),
            Self::Value(key, value) => write!(f, "`{key}={value}` is not a value that {key} can have"),
            Self::Word(word) => write!(f, "`{word}` is not of the form key=value"),
        }
    }
}

/// Reads a line.
///
/// # Errors
///
/// The line is none of a trace.
pub fn parse(line: &str) -> Result<Line, Malformed<'_>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Line::Nothing);
    }
    let (first, rest) = split(line);
    match first {
        "machine" => machine(&Fields::new(rest)?).map(Line::Machine),
        "policy" => policy(&Fields::new(rest)?).map(Line::Policy),
        "VM" => vm(&Fields::new(rest)?).map(|event| Line::Event(0, event)),
        _ => {
            let cpu = first.strip_prefix("cpu=").ok_or(Malformed::Event(first))?;
            let cpu = number("cpu", cpu)? as usize;
            let (name, rest) = split(rest);
            event(name, &Fields::new(rest)?).map(|event| Line::Event(cpu, event))
        }
    }
}

fn split(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim_start())
}

/// The fields of a line.
struct Fields<'l>(&'l str);

impl<'l> Fields<'l> {
    fn new(text: &'l str) -> Result<Self, Malformed<'l>> {
        match text.split_whitespace().find(|word| !word.contains('=')) {
            Some(word) => Err(Malformed::Word(word)),
            None => Ok(Self(text)),
        }
    }

    fn find(&self, key: &str) -> Option<&'l str> {
        self.0.split_whitespace().find_map(|word| word.split_once('=').filter(|(found, _)| *found == key)).map(|f| f.1)
    }

    fn text(&self, key: &'static str) -> Result<&'l str, Malformed<'l>> {
        self.find(key).ok_or(Malformed::Missing(key))
    }

    fn number(&self, key: &'static str) -> Result<u64, Malformed<'l>> {
        number(key, self.text(key)?)
    }

    fn small(&self, key: &'static str) -> Result<u32, Malformed<'l>> {
        let text = self.text(key)?;
        u32::try_from(number(key, text)?).map_err(|_| Malformed::Value(key, text))
    }

    fn optional(&self, key: &'static str) -> Result<Option<u64>, Malformed<'l>> {
        self.find(key).map(|text| number(key, text)).transpose()
    }

    fn number_or_0(&self, key: &'static str) -> Result<u64, Malformed<'l>> {
        Ok(self.optional(key)?.unwrap_or(0))
    }

    fn flag(&self, key: &'static str) -> Result<bool, Malformed<'l>> {
        Ok(self.number_or_0(key)? != 0)
    }

    fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Result<T, Malformed<'l>> {
        let text = self.text(key)?;
        meaning(words, text).ok_or(Malformed::Value(key, text))
    }

    fn frames(&self) -> Result<Frames, Malformed<'l>> {
        let (text, first) = (self.text("pa")?, self.number("pa")?);
        let frames = Frames::new(Hpa(first), self.number("pages")?);
        let is_range = frames.pages <= 1 << 52 && first.is_multiple_of(PAGE_SIZE) && frames.end().0 < u64::MAX;
        if is_range { Ok(frames) } else { Err(Malformed::Value("pa", text)) }
    }

    fn slot(&self) -> Result<Hpa, Malformed<'l>> {
        let (text, slot) = (self.text("pa")?, self.number("pa")?);
        if slot.is_multiple_of(8) { Ok(Hpa(slot)) } else { Err(Malformed::Value("pa", text)) }
    }
}

fn number<'l>(key: &'static str, text: &'l str) -> Result<u64, Malformed<'l>> {
    let digits = text.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16));
    digits.unwrap_or_else(|| text.parse()).map_err(|_| Malformed::Value(key, text))
}

fn machine<'l>(fields: &Fields<'l>) -> Result<Machine, Malformed<'l>> {
    Ok(Machine {
        cpus: fields.small("cpus")?,
        bbm: fields.number_or_0("bbm")?.min(2) as u8,
        tlbi_range: fields.flag("tlbirange")?,
        tlbi_outer: fields.flag("tlbios")?,
        level_hint: fields.flag("ttl")?,
        forced_write_back: fields.flag("fwb")?,
        hafdbs: fields.number_or_0("hafdbs")?.min(2) as u8,
        vmid16: fields.flag("vmid16")?,
        pa_bits: fields.optional("parange")?.map_or(48, |bits| bits.min(52) as u32),
        execute_per_level: fields.flag("xnx")?,
        xs: fields.flag("xs")?,
        ets2: fields.flag("ets2")?,
        idc: fields.flag("idc")?,
        dic: fields.flag("dic")?,
        must_set_access_flag: fields.flag("af")?,
    })
}

fn policy<'l>(fields: &Fields<'l>) -> Result<Policy, Malformed<'l>> {
    Ok(Policy { bbm: fields.optional("bbm")?.map(|level| level.min(2) as u8) })
}

fn vm<'l>(fields: &Fields<'l>) -> Result<Event, Malformed<'l>> {
    let bbm = fields.optional("bbm")?.map(|level| level.min(2) as u8);
    Ok(Event::Vm { vm: fields.small("vm")?, vttbr: fields.number("vttbr")?, bbm })
}

fn event<'l>(name: &'l str, fields: &Fields<'l>) -> Result<Event, Malformed<'l>> {
    Ok(match name {
        "W" => Event::Store {
            slot: fields.slot()?,
            new: fields.number("val")?,
            order: fields.word("order", ORDERS)?,
            old: fields.optional("old")?,
        },
        "HWUPD" => {
            Event::HardwareUpdate { slot: fields.slot()?, old: fields.number("old")?, new: fields.number("new")? }
        }
        "ALLOC" => Event::Alloc(fields.frames()?, fields.word("kind", KINDS)?),
        "ZERO" => Event::Zero(fields.frames()?),
        "FREE" => Event::Free(fields.frames()?),
        "OWNER" => {
            Event::Owner { frames: fields.frames()?, vm: fields.small("vm")?, is_shared: fields.flag("shared")? }
        }
        "OP" => operation(fields)?,
        "ERET" => Event::Eret { vm: fields.small("vm")?, vcpu: fields.small("vcpu")? },
        "EXC" => Event::Exc {
            vm: fields.small("vm")?,
            vcpu: fields.small("vcpu")?,
            esr: fields.number_or_0("esr")?,
            far: fields.number_or_0("far")?,
            hpfar: fields.number_or_0("hpfar")?,
        },
        _ => instruction(name, fields)?,
    })
}

fn operation<'l>(fields: &Fields<'l>) -> Result<Event, Malformed<'l>> {
    if fields.find("begin").is_none() {
        return Ok(Event::End { status: fields.number("end")? });
    }
    let (text, start, pages) = (fields.text("ipa")?, fields.number("ipa")?, fields.number("pages")?);
    let end = pages.checked_mul(PAGE_SIZE).and_then(|len| len.checked_add(start));
    Ok(Event::Begin {
        work: fields.word("begin", WORKS)?,
        vm: fields.small("vm")?,
        range: IpaRange { start: Ipa(start), end: Ipa(end.ok_or(Malformed::Value("ipa", text))?) },
        perms: fields.find("perm").map(letters).transpose()?,
    })
}

fn letters(text: &str) -> Result<Perms, Malformed<'_>> {
    if text == "none" {
        return Ok(Perms::empty());
    }
    text.chars().try_fold(Perms::empty(), |perms, letter| match letter {
        'r' => Ok(perms | Perms::READ),
        'w' => Ok(perms | Perms::WRITE),
        'x' => Ok(perms | Perms::EXECUTE),
        _ => Err(Malformed::Value("perm", text)),
    })
}

fn instruction<'l>(name: &'l str, fields: &Fields<'l>) -> Result<Event, Malformed<'l>> {
    Ok(match name {
        "MSR" => Event::Msr(meaning(REGISTERS, fields.text("reg")?).unwrap_or(Register::Other), fields.number("val")?),
        "ISB" => Event::Isb,
        "DSB" => Event::Dsb {
            domain: fields.word("dom", DOMAINS)?,
            accesses: fields.word("type", ACCESSES)?,
            is_nxs: fields.flag("nxs")?,
        },
        "DMB" => Event::Dmb { domain: fields.word("dom", DOMAINS)?, accesses: fields.word("type", ACCESSES)? },
        "TLBI" => {
            let text = fields.text("op")?;
            Event::Tlbi(tlbi(text).ok_or(Malformed::Value("op", text))?, fields.optional("xt")?)
        }
        "DC" => Event::Dc {
            op: meaning(DC_OPS, fields.text("op")?).unwrap_or(DcOp::Other),
            start: Hpa(fields.number("pa")?),
            len: fields.optional("len")?.unwrap_or(1),
        },
        "IC" => Event::Ic { is_broadcast: fields.text("op")? != "iallu" },
        "LOCK" => Event::Lock { id: fields.number("id")?, root: fields.optional("root")?.map(Hpa) },
        "UNLOCK" => Event::Unlock { id: fields.number("id")? },
        _ => return Err(Malformed::Event(name)),
    })
}
