//! Programs on which the hypervisor and the model once differed.

use model::Dialect;

use crate::search::replay;

fn both(text: &str) {
    replay(Dialect::Documented, None, text);
    replay(Dialect::Kernel, None, text);
}

#[test]
fn a_copy_with_an_option_that_nobody_knows_is_refused() {
    both("2 VmoCreate 0x6000 0x2\n34 VmoCreateChild h2 0x1001 0x0 0x1000");
}

#[test]
fn a_policy_stays_while_another_name_of_the_memory_is_mapped() {
    both(
        "0 StartupHandle 0x1
        1 VmoCreate 0x8000 0x0
        2 VmoCreateChild h1 0x40 0x0 0x0
        3 VmoCreateChild h1 0x40 0x0 0x0
        4 HandleClose h1
        5 VmarMap h0 0x13 0x80000000 h2 0x0 0x8000
        6 Store 0x80000000 0x7
        7 VmoSetCachePolicy h3 0x1",
    );
}

#[test]
fn a_pin_that_is_refused_takes_no_memory_for_its_buffer() {
    both(
        "0 StartupHandle 0x1
        1 VmoCreate 0x8000 0x0
        3 StartupHandle 0x4
        4 BtiCreate h3
        17 VmarMap h0 0x23 0x80013000 h1 0x2000 0x5008
        24 VmoCreateContiguous 0x2000 0xe
        60 BtiPin h4 0x3 h24 0x2000 0x1000 0x80018000 0x1
        61 ObjectGetInfo h1 0x30000017 0x40000000 0xb0",
    );
}

#[test]
fn zeroing_lets_go_of_all_pages_but_the_pinned_ones() {
    both(
        "0 StartupHandle 0x1
        1 VmoCreate 0x8000 0x0
        3 StartupHandle 0x4
        4 BtiCreate h3
        21 VmarMap h0 0x403 0x0 h1 0x0 0x6000
        43 Store a21+0x1000 0xddeb8
        50 BtiPin h4 0x2 h1 0x2000 0x1000 0x401bfdc0 0x1
        57 VmoOpRange h1 0xa 0x0 0x6000
        58 ObjectGetInfo h1 0x30000017 0x40000000 0xb0",
    );
}

#[test]
fn executable_pages_that_the_hypervisor_wrote_to_come_back_with_their_group() {
    both(
        "0 StartupHandle 0x1
        1 VmoCreate 0x8000 0x0
        4 VmarOpRange h0 0x1 0x40000000 0x400000
        7 VmarUnmap h0 0x400a5000 0x7000
        26 VmarProtect h0 0x7 0x400f4000 0x3000
        31 VmoRead h1 0x40008099 0x3000 0x550
        43 VmarProtect h0 0x4001 0x40005000 0x1000",
    );
}
