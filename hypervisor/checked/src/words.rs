//! What the machine is asked for and told of, in the words of a trace.

use oracle::{Accesses, DcOp, Domain, Event, FrameKind, Frames, Machine, Target, TlbiOp};
use stage2::Order;
use vm::{ExitCause, Lock, Owner, Taken, VmId, Work};
use vmsa::{BbmLevel, Dc, DirtyLevel, Dsb, Features, Hpa, IpaRange, Perms, Scope, Tlbi};

/// The number of the VMIDs' lock in a trace. That of a VM's tree has the VM's number.
const VMIDS_LOCK: u64 = 0x100;
/// The number of the VMOs' lock.
const VMOS_LOCK: u64 = 0x101;

/// Returns what the machine is. Extensions that nothing here makes use of are left out, whether or not it has them.
pub(crate) const fn machine(features: &Features, cpus: u32) -> Machine {
    Machine {
        cpus,
        bbm: bbm(features.bbm),
        tlbi_range: features.tlbi_range,
        tlbi_outer: features.tlbi_range,
        level_hint: features.level_hint,
        forced_write_back: features.forced_write_back,
        hafdbs: match features.dirty {
            DirtyLevel::None => 0,
            DirtyLevel::AccessFlag => 1,
            DirtyLevel::Dirty => 2,
        },
        vmid16: features.vmid16,
        pa_bits: features.pa_bits,
        execute_per_level: features.execute_per_level,
        xs: false,
        ets2: false,
        idc: features.no_clean_for_fetch,
        dic: features.no_invalidate_for_fetch,
        must_set_access_flag: true,
    }
}

pub(crate) const fn bbm(level: BbmLevel) -> u8 {
    match level {
        BbmLevel::BreakFirst => 0,
        BbmLevel::NoTranslationCaching => 1,
        BbmLevel::Direct => 2,
    }
}

pub(crate) const fn store(slot: Hpa, new: u64, order: Order) -> Event {
    let order = match order {
        Order::Plain => oracle::Order::Plain,
        Order::Release => oracle::Order::Release,
    };
    Event::Store { slot, new, order, old: None }
}

pub(crate) const fn exchange(slot: Hpa, old: u64, new: u64) -> Event {
    Event::Store { slot, new, order: oracle::Order::Atomic, old: Some(old) }
}

pub(crate) fn tlbi(op: Tlbi, scope: Scope) -> Event {
    let (target, leaf_only) = match op {
        _ if planted::is(31) => (Target::El2, false),
        Tlbi::Ipa { leaf_only, .. } => (Target::Ipa, leaf_only),
        Tlbi::Range { leaf_only, .. } => (Target::Range, leaf_only),
        Tlbi::Stage1 => (Target::Stage1, false),
        Tlbi::Vmid => (Target::Vmid, false),
        Tlbi::All => (Target::All, false),
    };
    let domain = match scope {
        Scope::Local => Domain::Local,
        Scope::Broadcast => Domain::Inner,
    };
    Event::Tlbi(TlbiOp { leaf_only, is_nxs: planted::is(29), ..TlbiOp::new(target, domain) }, op.operand())
}

pub(crate) fn dsb(kind: Dsb) -> Event {
    let (domain, accesses) = match kind {
        Dsb::Nsh => (Domain::Local, Accesses::Full),
        Dsb::Nshst => (Domain::Local, Accesses::Stores),
        Dsb::Ishst => (Domain::Inner, Accesses::Stores),
        Dsb::Ish => (Domain::Inner, Accesses::Full),
        Dsb::Sy => (Domain::System, Accesses::Full),
    };
    Event::Dsb { domain, accesses, is_nxs: planted::is(29) && accesses == Accesses::Full }
}

pub(crate) const fn dc(op: Dc, start: Hpa, len: u64) -> Event {
    let op = match op {
        Dc::Clean => DcOp::Clean,
        Dc::CleanInvalidate => DcOp::CleanInvalidate,
    };
    Event::Dc { op, start, len }
}

pub(crate) const fn taken(frame: Hpa, pages: u64, taken_as: Taken) -> Event {
    let kind = match taken_as {
        Taken::Table => FrameKind::Table,
        Taken::Memory => FrameKind::Guest,
    };
    Event::Alloc(Frames::new(frame, pages), kind)
}

pub(crate) const fn owner(frame: Hpa, pages: u64, owner: Owner) -> Event {
    let (vm, is_shared) = match owner {
        Owner::Hypervisor => (0, false),
        Owner::Vm(vm) => (vm.number(), false),
        Owner::Everyone => (0, true),
    };
    Event::Owner { frames: Frames::new(frame, pages), vm, is_shared }
}

pub(crate) const fn locked(lock: Lock) -> Event {
    match lock {
        Lock::Tree(vm, root) => Event::Lock { id: vm.number() as u64, root: Some(root) },
        Lock::Vmids => Event::Lock { id: VMIDS_LOCK, root: None },
        Lock::Vmos => Event::Lock { id: VMOS_LOCK, root: None },
    }
}

pub(crate) const fn unlocked(lock: Lock) -> Event {
    match lock {
        Lock::Tree(vm, _) => Event::Unlock { id: vm.number() as u64 },
        Lock::Vmids => Event::Unlock { id: VMIDS_LOCK },
        Lock::Vmos => Event::Unlock { id: VMOS_LOCK },
    }
}

pub(crate) const fn begun(work: Work, vm: VmId, range: IpaRange, perms: Option<Perms>) -> Event {
    let work = match work {
        Work::Map => oracle::Work::Map,
        Work::Unmap => oracle::Work::Unmap,
        Work::Protect => oracle::Work::Protect,
        Work::Commit => oracle::Work::Commit,
        Work::Decommit => oracle::Work::Decommit,
        Work::Fault => oracle::Work::Fault,
    };
    Event::Begin { work, vm: vm.number(), range, perms }
}

pub(crate) const fn left(vm: VmId, vcpu: usize, cause: ExitCause) -> Event {
    let ExitCause { esr, far, hpfar } = cause;
    Event::Exc { vm: vm.number(), vcpu: vcpu as u32, esr, far, hpfar }
}
