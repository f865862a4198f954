//! Single events.

use super::Scene;

impl Scene {
    /// Stores a descriptor.
    pub(crate) fn w(&mut self, slot: u64, value: u64) -> &mut Self {
        self.store(slot, value, "plain")
    }

    /// Stores a descriptor after all that the CPU did before.
    pub(crate) fn release(&mut self, slot: u64, value: u64) -> &mut Self {
        self.store(slot, value, "release")
    }

    /// Exchanges a descriptor atomically.
    pub(crate) fn rmw(&mut self, slot: u64, value: u64) -> &mut Self {
        self.store(slot, value, "rmw")
    }

    pub(crate) fn store(&mut self, slot: u64, value: u64, order: &str) -> &mut Self {
        self.memory.insert(slot, value);
        self.say(format!("W pa={slot:#x} val={value:#x} order={order}"))
    }

    /// Stores a descriptor over what the writer believes to be there.
    pub(crate) fn w_over(&mut self, slot: u64, old: u64, value: u64) -> &mut Self {
        self.memory.insert(slot, value);
        self.say(format!("W pa={slot:#x} val={value:#x} order=plain old={old:#x}"))
    }

    /// A walk sets flags.
    pub(crate) fn hwupd(&mut self, slot: u64, value: u64) -> &mut Self {
        let old = self.read(slot);
        self.memory.insert(slot, value);
        self.say(format!("HWUPD pa={slot:#x} old={old:#x} new={value:#x}"))
    }

    /// A DSB by its name in assembly, with `nxs` after that of FEAT_XS.
    pub(crate) fn dsb(&mut self, name: &str) -> &mut Self {
        let (name, nxs) = name.strip_suffix("nxs").map_or((name, ""), |name| (name, " nxs=0x1"));
        let (domain, accesses) = split_barrier(name);
        self.say(format!("DSB dom={domain} type={accesses}{nxs}"))
    }

    /// A DMB by its name in assembly.
    pub(crate) fn dmb(&mut self, name: &str) -> &mut Self {
        let (domain, accesses) = split_barrier(name);
        self.say(format!("DMB dom={domain} type={accesses}"))
    }

    pub(crate) fn isb(&mut self) -> &mut Self {
        self.say("ISB")
    }

    /// A TLBI that takes no operand.
    pub(crate) fn tlbi(&mut self, op: &str) -> &mut Self {
        self.say(format!("TLBI op={op}"))
    }

    /// A TLBI with an operand.
    pub(crate) fn tlbi_xt(&mut self, op: &str, xt: u64) -> &mut Self {
        self.say(format!("TLBI op={op} xt={xt:#x}"))
    }

    /// A TLBI of an address, without a level hint.
    pub(crate) fn tlbi_ipa(&mut self, op: &str, ipa: u64) -> &mut Self {
        self.tlbi_xt(op, ipa >> 12)
    }

    pub(crate) fn msr(&mut self, register: &str, value: u64) -> &mut Self {
        self.say(format!("MSR reg={register} val={value:#x}"))
    }

    pub(crate) fn dc(&mut self, op: &str, pa: u64, len: u64) -> &mut Self {
        self.say(format!("DC op={op} pa={pa:#x} len={len:#x}"))
    }

    pub(crate) fn ic(&mut self, op: &str) -> &mut Self {
        self.say(format!("IC op={op}"))
    }

    pub(crate) fn alloc(&mut self, pa: u64, pages: u64, kind: &str) -> &mut Self {
        self.say(format!("ALLOC pa={pa:#x} pages={pages:#x} kind={kind}"))
    }

    pub(crate) fn zero(&mut self, pa: u64, pages: u64) -> &mut Self {
        let end = pa + pages * super::PAGE;
        self.memory.retain(|slot, _| !(pa..end).contains(slot));
        self.say(format!("ZERO pa={pa:#x} pages={pages:#x}"))
    }

    /// Makes frames a VM's; VM 0 is the hypervisor.
    pub(crate) fn owner(&mut self, pa: u64, pages: u64, vm: u32) -> &mut Self {
        self.say(format!("OWNER pa={pa:#x} pages={pages:#x} vm={vm:#x}"))
    }

    /// Marks frames that several VMs may map.
    pub(crate) fn share(&mut self, pa: u64, pages: u64, vm: u32) -> &mut Self {
        self.say(format!("OWNER pa={pa:#x} pages={pages:#x} vm={vm:#x} shared=0x1"))
    }

    pub(crate) fn free(&mut self, pa: u64, pages: u64) -> &mut Self {
        self.say(format!("FREE pa={pa:#x} pages={pages:#x}"))
    }

    pub(crate) fn lock(&mut self, id: u64) -> &mut Self {
        self.say(format!("LOCK id={id:#x}"))
    }

    pub(crate) fn unlock(&mut self, id: u64) -> &mut Self {
        self.say(format!("UNLOCK id={id:#x}"))
    }

    pub(crate) fn begin(&mut self, work: &str, vm: u32, ipa: u64, pages: u64) -> &mut Self {
        self.say(format!("OP begin={work} vm={vm:#x} ipa={ipa:#x} pages={pages:#x}"))
    }

    pub(crate) fn end(&mut self, status: u64) -> &mut Self {
        self.say(format!("OP end={status:#x}"))
    }

    pub(crate) fn eret(&mut self, vm: u32, vcpu: u32) -> &mut Self {
        self.say(format!("ERET vm={vm:#x} vcpu={vcpu:#x}"))
    }

    /// The guest calls its hypervisor.
    pub(crate) fn exc(&mut self, vm: u32, vcpu: u32) -> &mut Self {
        self.exc_with(vm, vcpu, 0x5a00_0000, 0)
    }

    /// The guest takes a data abort on an address of its own; stage 1 is off, so FAR is the IPA.
    pub(crate) fn abort(&mut self, vm: u32, vcpu: u32, fault_status: u64, ipa: u64) -> &mut Self {
        self.exc_with(vm, vcpu, 0x24 << 26 | 1 << 25 | fault_status, ipa)
    }

    fn exc_with(&mut self, vm: u32, vcpu: u32, esr: u64, far: u64) -> &mut Self {
        let hpfar = far >> 12 << 4;
        self.say(format!("EXC vm={vm:#x} vcpu={vcpu:#x} esr={esr:#x} far={far:#x} hpfar={hpfar:#x}"))
    }
}

/// Takes `ishst` apart into the domain and what it waits for.
fn split_barrier(name: &str) -> (&str, &str) {
    match (name.strip_suffix("st"), name.strip_suffix("ld")) {
        (Some(domain), _) => (or_system(domain), "st"),
        (_, Some(domain)) => (or_system(domain), "ld"),
        _ => (name, "full"),
    }
}

/// `DSB ST` and `DSB LD` leave out their domain: it is the full system.
const fn or_system(domain: &str) -> &str {
    if domain.is_empty() { "sy" } else { domain }
}
