//! What a guest takes where nothing serves an access: a synchronous external abort at EL1, as on a machine without
//! memory there. `ESR_EL1` and `FAR_EL1` are asserted by the checks of every case; here is where the access can come
//! from.

use crate::arena::{Arena, R, RW, RX, executable_vmo, mark};
use crate::case::cases;
use crate::check::{Check, execute, execute_aborts, is_external_abort, load_aborts, reads, store, store_aborts};
use guest::exception::Class;
use guest::probe;
use guest::stage1::{self, Descriptor, LEVEL_2_SPAN, WINDOW};
use zx::{PAGE_SIZE, VmOptions, Vmar, Vmo};

cases! {
    #[kernel]
    fn A01_load() {
        load_aborts(Arena::BASE);
    }

    #[kernel]
    fn A02_store() {
        store_aborts(Arena::BASE);
    }

    #[kernel]
    fn A03_execute() {
        execute_aborts(Arena::BASE);
    }

    #[kernel]
    fn A04_far_is_the_address_and_not_its_page() {
        load_aborts(Arena::BASE + 0x123);
        store_aborts(Arena::BASE + 0xff0);
        execute_aborts(Arena::BASE + 0x124);
    }

    #[kernel]
    fn A05_guest_goes_on_after_an_abort() {
        for value in 1..100 {
            load_aborts(Arena::BASE);
            store_aborts(Arena::BASE);
            let arena = Arena::new(1);
            arena.map(0, 1);
            store(arena.page(0), value);
            reads(arena.page(0), value);
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn A06_store_to_what_can_only_be_read() {
        let arena = Arena::new(1);
        arena.map_vmo(R, 0, 1, &Vmo::create(PAGE_SIZE).succeeds(), 0).succeeds();
        store_aborts(arena.page(0));
    }

    #[kernel]
    fn A07_execution_of_what_cannot_be_executed() {
        let arena = Arena::new(1);
        arena.map_vmo(RW, 0, 1, &executable_vmo(1), 0).succeeds();
        execute_aborts(arena.page(0));
        arena.shows("1");
    }

    #[kernel]
    fn A08_mapping_without_access() {
        let arena = Arena::new(1);
        arena.map_vmo(VmOptions::empty(), 0, 1, &executable_vmo(1), 0).succeeds();
        load_aborts(arena.page(0));
        store_aborts(arena.page(0));
        execute_aborts(arena.page(0));
    }

    #[kernel]
    fn A09_stage1_walk_that_meets_an_unmapped_table() {
        stage1::install_window(Arena::BASE);
        load_aborts(WINDOW + 0x10);
        store_aborts(WINDOW + LEVEL_2_SPAN);
        execute_aborts(WINDOW + 2 * LEVEL_2_SPAN);
    }

    #[kernel]
    fn A10_stage1_table_comes_at_first_touch() {
        let arena = Arena::new(1);
        arena.map_vmo(RW, 0, 1, &Vmo::create(PAGE_SIZE).succeeds(), 0).succeeds();
        stage1::install_window(arena.page(0));
        let exception = probe::load(WINDOW).expect_err("the table is all zeros");
        assert_eq!(exception.fault_status(), LEVEL_2_TRANSLATION_FAULT, "{exception}");
    }

    #[kernel]
    fn A11_address_beyond_the_ipa_space() {
        window(&[Descriptor::block(IPA_SPACE)]);
        load_aborts(WINDOW);
        store_aborts(WINDOW + 8);
    }

    #[kernel]
    fn A12_nothing_of_the_machine_shows_through() {
        // QEMU's `virt` has flash, interrupt controller, UART, RTC and PCI here; and RAM where the VM's RAM has ended.
        let machine = [0, 0x0800_0000, 0x0900_0000, 0x0901_0000, 0x1000_0000, 0x3eff_0000, 0x4400_0000, 0x7fff_f000];
        machine.into_iter().for_each(load_aborts);
    }

    #[kernel]
    fn A13_load_from_el0() {
        let _code = el0_window();
        let exception = probe::load_at_el0(EL0_CODE, EL0_DATA + 8).expect_err("no data is mapped");
        assert_eq!(exception.class(), Class::DataAbortLowerEl, "{exception}");
        assert!(!exception.is_write());
        is_external_abort(exception, EL0_DATA + 8);
    }

    #[kernel]
    fn A14_execution_from_el0() {
        let _code = el0_window();
        let exception = probe::load_at_el0(EL0_DATA, 0).expect_err("no code is mapped there");
        assert_eq!(exception.class(), Class::InstructionAbortLowerEl, "{exception}");
        is_external_abort(exception, EL0_DATA);
    }

    #[kernel]
    fn A15_el0_is_served_by_demand_too() {
        let arena = el0_window();
        arena.map(BLOCK_PAGES, 1);
        assert_eq!(probe::load_at_el0(EL0_CODE, EL0_DATA), Ok(mark(0)));
        arena.unmap(BLOCK_PAGES, 1).succeeds();
        probe::load_at_el0(EL0_CODE, EL0_DATA).expect_err("it is unmapped again");
    }

    #[kernel]
    fn A16_hvc_with_another_immediate_is_undefined() {
        let exception = probe::hvc_1().expect_err("HVC #1 is no call");
        assert_eq!(exception.class(), Class::Unknown, "{exception}");
    }

    #[kernel]
    fn A17_pages_beside_the_fault_are_not_touched() {
        let arena = Arena::new(3);
        let vmo = executable_vmo(3);
        arena.map_vmo(RX, 0, 1, &vmo, 0).succeeds();
        arena.map_vmo(RX, 2, 1, &vmo, 2).succeeds();
        execute_aborts(arena.page(1));
        execute(arena.page(0));
        execute(arena.page(2));
    }
}

/// The size of a VM's IPA space, where its boot arguments say nothing else.
const IPA_SPACE: u64 = 1 << 39;

/// DFSC of a translation fault at level 2.
pub(super) const LEVEL_2_TRANSLATION_FAULT: u8 = 0b00_0110;

/// Where [`window`] puts its table.
const TABLE_IPA: u64 = 0x1_0000_0000;

const BLOCK_PAGES: u64 = LEVEL_2_SPAN / PAGE_SIZE;

/// The VA at which EL0 has code, and the one at which a test may give it data.
const EL0_CODE: u64 = WINDOW;
const EL0_DATA: u64 = WINDOW + LEVEL_2_SPAN;

/// Lets the window show what a level 2 table says.
fn window(entries: &[Descriptor]) {
    let table = Vmo::create(PAGE_SIZE).succeeds();
    for (index, entry) in entries.iter().enumerate() {
        table.write(&entry.0.to_le_bytes(), 8 * index as u64).succeeds();
    }
    let root = Vmar::root().succeeds();
    let ipa = root.map(RW | VmOptions::SPECIFIC, TABLE_IPA, &table, 0, PAGE_SIZE).succeeds();
    stage1::install_window(ipa);
}

/// Lets EL0 use the window: its first block is that of an arena's first page, where there is code, its second one that
/// of page [`BLOCK_PAGES`], where there is nothing.
fn el0_window() -> Arena {
    let arena = Arena::new(2 * BLOCK_PAGES);
    let code = Vmo::create(PAGE_SIZE).succeeds();
    code.write(&probe::LOAD_AND_SVC.to_le_bytes(), 0).succeeds();
    arena.map_vmo(RX, 0, 1, &code.replace_as_executable().succeeds(), 0).succeeds();
    window(&[arena.page(0), arena.page(BLOCK_PAGES)].map(|ipa| Descriptor::block(ipa).for_el0()));
    arena
}
