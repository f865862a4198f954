//! The calls of other specifications: the SMC Calling Convention and PSCI.

use crate::case::cases;
use crate::check::Check;
use abi::smccc;
use guest::probe;
use zx::platform::{self, Version};
use zx::{clock_get_monotonic_ns, nanosleep_until_ns, yield_now};

cases! {
    #[kernel]
    fn M01_smccc_version() {
        assert_eq!(platform::smccc_version(), Version { major: 1, minor: 2 });
        assert!(platform::has_architecture_function(smccc::SMCCC_VERSION));
        assert!(!platform::has_architecture_function(0x8000_3ffe));
    }

    #[kernel]
    fn M02_vendor_service() {
        assert_eq!(platform::vendor_uid(), smccc::UID);
        assert_eq!(platform::vendor_revision(), smccc::REVISION);
    }

    #[kernel]
    fn M03_psci_version() {
        assert_eq!(platform::psci_version(), Version { major: 1, minor: 1 });
    }

    #[kernel]
    fn M04_psci_features() {
        for function_id in [PSCI_VERSION, CPU_OFF, SYSTEM_OFF, PSCI_FEATURES] {
            assert!(platform::has_psci_function(function_id), "{function_id:#x}");
        }
        assert!(!platform::has_psci_function(0x8400_00ff));
    }

    #[kernel]
    fn M05_psci_system_off_ends_the_vm() {
        guest::println!("PASS M05_psci_system_off_ends_the_vm");
        platform::system_off()
    }

    #[kernel]
    fn M06_clock_goes_forward() {
        let before = clock_get_monotonic_ns().succeeds();
        yield_now().succeeds();
        assert!(clock_get_monotonic_ns().succeeds() >= before);
    }

    #[kernel]
    fn M07_nanosleep_waits_for_its_deadline() {
        let deadline_ns = clock_get_monotonic_ns().succeeds() + 2_000_000;
        nanosleep_until_ns(deadline_ns).succeeds();
        assert!(clock_get_monotonic_ns().succeeds() >= deadline_ns);
        nanosleep_until_ns(0).succeeds();
    }

    // The machine ends by semihosting, which is open to EL1 too: nothing else may come of it.
    #[kernel]
    fn M08_semihosting_opens_no_file_of_the_host() {
        assert!(!matches!(probe::open_by_semihosting(c"/etc/passwd"), Ok(Some(_))));
    }
}

const PSCI_VERSION: u32 = 0x8400_0000;
const CPU_OFF: u32 = 0x8400_0002;
const SYSTEM_OFF: u32 = 0x8400_0008;
const PSCI_FEATURES: u32 = 0x8400_000a;
