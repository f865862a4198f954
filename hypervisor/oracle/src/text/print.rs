//! Events as lines.

use core::fmt::{Display, Formatter, Result};

use vmsa::Perms;

use super::names::{ACCESSES, DC_OPS, DOMAINS, KINDS, ORDERS, REGISTERS, TLBIS, WORKS, suffix, word};
use crate::{Event, Frames, Machine, TlbiOp, Work};

/// An event of a CPU, as a trace says it, without the end of the line.
#[derive(Clone, Copy, Debug)]
pub struct Printed {
    /// The CPU.
    pub cpu: usize,
    /// What happens there.
    pub event: Event,
}

impl Display for Printed {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Event::Vm { vm, vttbr, bbm } = self.event {
            write!(f, "VM vm={vm:#x} vttbr={vttbr:#x}")?;
            return bbm.map_or(Ok(()), |bbm| write!(f, " bbm={bbm:#x}"));
        }
        write!(f, "cpu={:#x} ", self.cpu)?;
        match self.event {
            Event::Store { .. } | Event::HardwareUpdate { .. } => self.entry(f),
            Event::Alloc(..) | Event::Zero(_) | Event::Owner { .. } | Event::Free(_) => self.frames(f),
            Event::Begin { .. } | Event::End { .. } | Event::Eret { .. } | Event::Exc { .. } => self.course(f),
            _ => self.instruction(f),
        }
    }
}

impl Printed {
    fn entry(&self, f: &mut Formatter<'_>) -> Result {
        match self.event {
            Event::Store { slot, new, order, old } => {
                write!(f, "W pa={:#x} val={new:#x} order={}", slot.0, word(ORDERS, order))?;
                old.map_or(Ok(()), |old| write!(f, " old={old:#x}"))
            }
            Event::HardwareUpdate { slot, old, new } => write!(f, "HWUPD pa={:#x} old={old:#x} new={new:#x}", slot.0),
            _ => Ok(()),
        }
    }

    fn frames(&self, f: &mut Formatter<'_>) -> Result {
        match self.event {
            Event::Alloc(frames, kind) => {
                named(f, "ALLOC", frames)?;
                write!(f, " kind={}", word(KINDS, kind))
            }
            Event::Zero(frames) => named(f, "ZERO", frames),
            Event::Owner { frames, vm, is_shared } => {
                named(f, "OWNER", frames)?;
                write!(f, " vm={vm:#x}{}", if is_shared { " shared=0x1" } else { "" })
            }
            Event::Free(frames) => named(f, "FREE", frames),
            _ => Ok(()),
        }
    }

    fn course(&self, f: &mut Formatter<'_>) -> Result {
        match self.event {
            Event::Begin { work, vm, range, perms } => {
                let (start, pages) = (range.start.0, range.pages());
                write!(f, "OP begin={} vm={vm:#x} ipa={start:#x} pages={pages:#x}", word(WORKS, work))?;
                perms.filter(|_| work == Work::Protect).map_or(Ok(()), |perms| write!(f, " perm={}", Letters(perms)))
            }
            Event::End { status } => write!(f, "OP end={status:#x}"),
            Event::Eret { vm, vcpu } => write!(f, "ERET vm={vm:#x} vcpu={vcpu:#x}"),
            Event::Exc { vm, vcpu, esr, far, hpfar } => {
                write!(f, "EXC vm={vm:#x} vcpu={vcpu:#x} esr={esr:#x} far={far:#x} hpfar={hpfar:#x}")
            }
            _ => Ok(()),
        }
    }

    fn instruction(&self, f: &mut Formatter<'_>) -> Result {
        match self.event {
            Event::Msr(register, value) => write!(f, "MSR reg={} val={value:#x}", word(REGISTERS, register)),
            Event::Isb => f.write_str("ISB"),
            Event::Dsb { domain, accesses, is_nxs } => {
                let nxs = if is_nxs { " nxs=0x1" } else { "" };
                write!(f, "DSB dom={} type={}{nxs}", word(DOMAINS, domain), word(ACCESSES, accesses))
            }
            Event::Dmb { domain, accesses } => {
                write!(f, "DMB dom={} type={}", word(DOMAINS, domain), word(ACCESSES, accesses))
            }
            Event::Tlbi(op, operand) => {
                write!(f, "TLBI op={op}")?;
                operand.map_or(Ok(()), |xt| write!(f, " xt={xt:#x}"))
            }
            Event::Dc { op, start, len } => write!(f, "DC op={} pa={:#x} len={len:#x}", word(DC_OPS, op), start.0),
            Event::Ic { is_broadcast } => write!(f, "IC op={}", if is_broadcast { "ialluis" } else { "iallu" }),
            Event::Lock { id, root } => {
                write!(f, "LOCK id={id:#x}")?;
                root.map_or(Ok(()), |root| write!(f, " root={:#x}", root.0))
            }
            Event::Unlock { id } => write!(f, "UNLOCK id={id:#x}"),
            _ => Ok(()),
        }
    }
}

fn named(f: &mut Formatter<'_>, name: &str, frames: Frames) -> Result {
    write!(f, "{name} pa={:#x} pages={:#x}", frames.first.0, frames.pages)
}

impl Display for TlbiOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let base = word(TLBIS, (self.target, self.leaf_only));
        write!(f, "{base}{}{}", suffix(self.domain), if self.is_nxs { "nxs" } else { "" })
    }
}

/// Rights, as a trace spells them: the letters of `rwx`, or `none`.
struct Letters(Perms);

impl Display for Letters {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let letters = [(Perms::READ, "r"), (Perms::WRITE, "w"), (Perms::EXECUTE, "x")];
        if !letters.iter().any(|(perms, _)| self.0.intersects(*perms)) {
            return f.write_str("none");
        }
        letters.iter().filter(|(perms, _)| self.0.intersects(*perms)).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let fields = [
            ("cpus", u64::from(self.cpus)),
            ("bbm", u64::from(self.bbm)),
            ("tlbirange", u64::from(self.tlbi_range)),
            ("tlbios", u64::from(self.tlbi_outer)),
            ("ttl", u64::from(self.level_hint)),
            ("fwb", u64::from(self.forced_write_back)),
            ("hafdbs", u64::from(self.hafdbs)),
            ("vmid16", u64::from(self.vmid16)),
            ("parange", u64::from(self.pa_bits)),
            ("xnx", u64::from(self.execute_per_level)),
            ("xs", u64::from(self.xs)),
            ("ets2", u64::from(self.ets2)),
            ("idc", u64::from(self.idc)),
            ("dic", u64::from(self.dic)),
            ("af", u64::from(self.must_set_access_flag)),
        ];
        f.write_str("machine")?;
        fields.iter().try_for_each(|(key, value)| write!(f, " {key}={value:#x}"))
    }
}
