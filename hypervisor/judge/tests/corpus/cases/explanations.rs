//! What is told of a violation: since when, what was done about it, and what led to it.

use crate::scene::{IPA, Machine, PAGE, Page, Scene, judged, table};

/// Returns what explains the first violation.
fn explained(s: &Scene) -> String {
    judged(&s.text()).violations.first().expect("a violation").explanation.clone()
}

#[track_caller]
fn tells(s: &Scene, parts: &[&str]) {
    let text = explained(s);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// An unmap that does what is given after the break; and the number of the event that the break was.
fn unmapped_by(flush: impl FnOnce(&mut Scene, Page)) -> (Scene, Page, usize) {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page);
    // The first line is the machine's.
    let event = s.lines_mut().len() - 1;
    flush(&mut s, page);
    s.unlock(1).end(0);
    (s, page, event)
}

const TO_ALL: &str = "a DSB has made it visible to all walks";
const WHOLE: &str = "left: stage-2 entries, and what was combined of them, on the CPUs of the set 0b11";

#[test]
fn r8_nothing_was_invalidated() {
    let (s, page, event) = unmapped_by(|s, _| _ = s.dsb("ishst"));
    let since = format!("stale since event {event}: CPU 0 wrote 0x0 over {:#x} at {:#x}", page.word, page.slot);
    tells(&s, &["R8: ", &since, TO_ALL, "no TLBI for it", WHOLE, "right: DSB ISHST; TLBI IPAS2E1IS"]);
}

#[test]
fn r8_the_store_is_not_visible() {
    let (s, ..) = unmapped_by(|_, _| {});
    tells(&s, &["no DSB of stores has followed on that CPU", "no TLBI for it"]);
    let (s, ..) = unmapped_by(|s, _| _ = s.dsb("nshst"));
    tells(&s, &["a DSB has made it visible to that CPU's own walks only", "no TLBI for it"]);
}

#[test]
fn r9_what_came_too_early() {
    let (s, page, event) = unmapped_by(|s, page| _ = s.tlbi_ipa("ipas2e1is", page.ipa).dsb("ish"));
    let wasted = format!("event {}, CPU 0: TLBI ipas2e1is {:#x} did not count (R9): ", event + 1, page.ipa >> 12);
    tells(&s, &["R9: ", &wasted, TO_ALL, WHOLE]);
    assert!(!explained(&s).contains("no TLBI for it"));
}

#[test]
fn r10_what_reached_too_few_cpus() {
    let (s, ..) = unmapped_by(|s, _| _ = s.dsb("ishst").tlbi("vmalls12e1").dsb("ish"));
    tells(
        &s,
        &["R10: ", "did not count (R10): it reaches, or has reached, too few CPUs", "on the CPUs of the set 0b10"],
    );
}

#[test]
fn r10_what_is_not_complete() {
    let (s, ..) = unmapped_by(|s, _| _ = s.dsb("ishst").tlbi("vmalls12e1is"));
    let text = explained(&s);
    tells(&s, &["R10: ", "a TLBI for it, and no DSB of loads and stores as wide", WHOLE]);
    assert!(!text.contains("no TLBI for it") && !text.contains("did not count"), "{text}");
}

#[test]
fn r11_what_is_left_of_combined_entries() {
    let (s, ..) = unmapped_by(|s, page| _ = s.dsb("ishst").tlbi_ipa("ipas2e1is", page.ipa).dsb("ish"));
    let text = explained(&s);
    tells(&s, &["R11: ", "a TLBI by IPA took the stage-2 entries, and is complete", "left: combined entries, on"]);
    assert!(!text.contains("no TLBI for it") && !text.contains("no DSB of loads and stores"), "{text}");
}

#[test]
fn r50_the_events_that_led_to_it() {
    let (mut s, ..) = unmapped_by(|s, _| (0..20).for_each(|_| _ = s.isb().tlbi_ipa("vae1is", IPA + PAGE)));
    let text = explained(&s);
    let (_, told) = text.split_once("the last events, the latest at the end:\n").expect("the events are told");
    let lines = s.lines_mut().iter().enumerate().skip(1);
    let all: Vec<_> = lines.map(|(number, line)| format!("  {number}: {line}")).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), all[all.len() - 32..]);
}

#[test]
fn r8_where_it_is() {
    let (s, page, _) = unmapped_by(|s, _| _ = s.dsb("ishst"));
    let place = format!("slot {:#x}, IPA {IPA:#x}, VMID 0x1, level 3", page.slot);
    let held = format!("TLBs may hold {IPA:#x}..{:#x}", IPA + PAGE);
    let expected = format!("what an entry was has not been invalidated: {place}; {held}");
    assert_eq!(judged(&s.text()).violations[0].text, expected);
}

#[test]
fn r35_what_exactly_and_which_frame() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.free(page.pa, 1);
    let text = &judged(&s.text()).violations[0].text;
    assert!(text.ends_with(&format!(" (a tree leads there), frame {:#x}", page.pa)), "{text}");
}

#[test]
fn r33_which_frame_a_stale_entry_leads_to() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("decommit", page).break_(page).dsb("ish").free(page.pa, 1);
    let all = judged(&s.text()).violations;
    let frame = format!(", frame {:#x}; TLBs may hold", page.pa);
    assert!(all.iter().any(|found| found.rule == "R33") && all.iter().all(|found| found.text.contains(&frame)));
}

#[test]
fn r8_where_the_rest_of_what_was_broken_together_is() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 4, |word| word);
    s.begin("unmap", 1, IPA, 4).lock(1).break_all(&pages).flush_each(&pages[..2]).close(vm);
    let place = format!("slot {:#x}, IPA {:#x}, VMID 0x1, level 3", pages[2].slot, pages[2].ipa);
    let held = format!("TLBs may hold {:#x}..{:#x}", pages[2].ipa, IPA + 4 * PAGE);
    let text = &judged(&s.text()).violations[0].text;
    assert!(text.contains(&place) && text.ends_with(&held), "{text}");
}

#[test]
fn r15_where_the_leaves_of_an_unlinked_table_are() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA + 5 * PAGE, 3, 2, |word| word);
    let parent = s.slot(vm, IPA, 2);
    s.begin("unmap", 1, IPA, 512).lock(1).w(parent, 0).flush_ipa(IPA).close(vm);
    let place = format!("slot {:#x}, IPA {:#x}, VMID 0x1, level 3", pages[0].slot, pages[0].ipa);
    let found = &judged(&s.text()).violations[0];
    assert!(found.rule == "R15" && found.text.contains(&place), "{found:?}");
}

#[test]
fn r31_which_entry_of_a_new_table_it_is() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let parent = s.slot(vm, IPA, 2);
    let child = s.new_table();
    s.lock(1).w(child + 8 * 5, 0b01).release(parent, table(child)).unlock(1);
    let place = format!("slot {:#x}, IPA {:#x}, VMID 0x1, level 3", child + 8 * 5, IPA + 5 * PAGE);
    let found = &judged(&s.text()).violations[0];
    assert!(found.rule == "R31" && found.text.ends_with(&place), "{found:?}");
}
