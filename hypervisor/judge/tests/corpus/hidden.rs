//! What no trace shows: words that change behind the oracle's back, and an oracle whose memory is short.

use std::collections::BTreeMap;

use judge::SparseNotes;
use oracle::text::{Line, parse};
use oracle::{Event, Finding, Held, Oracle};
use vmsa::Hpa;

use crate::scene::{ACCESSED, DIRTY_MANAGED, IPA, Machine, PAGE, Page, Scene, Vm, WRITE};

/// A judge of what a scene says, that has room for some facts, and the words that it reads.
struct Bench<'p> {
    oracle: Box<Oracle<SparseNotes, &'p mut [Held]>>,
    words: BTreeMap<u64, u64>,
    rules: Vec<&'static str>,
    heard: usize,
}

impl<'p> Bench<'p> {
    fn new(s: &mut Scene, places: &'p mut [Held]) -> Self {
        let Ok(Line::Machine(machine)) = parse(&s.lines_mut()[0]) else { panic!("a scene begins with its machine") };
        let oracle = Box::new(Oracle::new(&machine, SparseNotes::default(), places));
        Self { oracle, words: BTreeMap::new(), rules: Vec::new(), heard: 1 }
    }

    /// Hears what the scene says since the last time.
    fn hear(&mut self, s: &mut Scene) {
        for line in &s.lines_mut()[self.heard..] {
            let Ok(Line::Event(cpu, event)) = parse(line) else { panic!("{line} is no event") };
            let words = &self.words;
            let is_wrong = self.oracle.observe(cpu, &event, |slot| words.get(&slot.0).copied().unwrap_or(0));
            assert_eq!(is_wrong, self.oracle.findings().count() != 0);
            self.rules.extend(self.oracle.findings().map(label));
            self.follow(&event);
        }
        self.heard = s.lines_mut().len();
    }

    fn follow(&mut self, event: &Event) {
        match *event {
            Event::Store { slot: Hpa(slot), new, .. } | Event::HardwareUpdate { slot: Hpa(slot), new, .. } => {
                self.words.insert(slot, new);
            }
            Event::Zero(frames) => self.words.retain(|slot, _| !(frames.first.0..frames.end().0).contains(slot)),
            _ => {}
        }
    }
}

fn label(finding: &Finding) -> &'static str {
    finding.rule.label()
}

/// Takes the table of two pages out, after their words were changed without a word; returns the rules that are told.
fn taken_out(machine: Machine, born: u64, change: impl Fn([u64; 2]) -> [u64; 2]) -> Vec<&'static str> {
    let mut places = [Held::default(); 64];
    let (mut s, vm) = Scene::with_vm(machine);
    let pages = s.map_run(vm, IPA, 3, 2, |word| word & !WRITE & !ACCESSED | born);
    let mut bench = Bench::new(&mut s, &mut places);
    bench.hear(&mut s);
    for (page, word) in pages.iter().zip(change([pages[0].word, pages[1].word])) {
        bench.words.insert(page.slot, word);
    }
    let parent = s.slot(vm, IPA, 2);
    s.lock(1).rmw(parent, 0).flush_vmid().unlock(1);
    bench.hear(&mut s);
    assert_eq!(bench.oracle.events(), bench.heard as u64 - 1);
    bench.rules
}

#[test]
fn r53_nothing_was_changed() {
    assert!(taken_out(Machine::TWO, ACCESSED, |words| words).is_empty());
}

#[test]
fn r53_an_entry_leads_elsewhere() {
    assert_eq!(taken_out(Machine::TWO, ACCESSED, |[first, second]| [first + 64 * PAGE, second]), ["R53"]);
    assert_eq!(taken_out(Machine::TWO, ACCESSED, |[first, _]| [first, 0]), ["R53"]);
}

#[test]
fn r53_entries_changed_places() {
    assert_eq!(taken_out(Machine::TWO, ACCESSED, |[first, second]| [second, first]), ["R53"]);
}

#[test]
fn r53_walks_set_flags_without_a_word() {
    let set = |bits: u64| move |[first, second]: [u64; 2]| [first | bits, second];
    assert!(taken_out(Machine::DIRTY, 0, set(ACCESSED)).is_empty());
    assert!(taken_out(Machine::DIRTY, DIRTY_MANAGED, set(ACCESSED | WRITE)).is_empty());
    assert_eq!(taken_out(Machine::DIRTY, 0, set(ACCESSED | WRITE)), ["R53"]);
}

/// A VM runs on CPU 0, and no VM on the other; the VM has pages.
fn one_vm(count: u64) -> (Scene, Vm, Vec<Page>) {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.enter(vm);
    let pages = s.map_run(vm, IPA, 3, count, |word| word);
    (s, vm, pages)
}

#[test]
fn r53_more_is_stale_than_there_is_room_for() {
    for (room, is_enough) in [(4, true), (3, false)] {
        let mut places = vec![Held::default(); room];
        let (mut s, vm, pages) = one_vm(8);
        s.lock(1);
        // Neighbours would be one.
        for page in pages.iter().step_by(2) {
            s.break_(*page);
        }
        s.flush_vmid().unlock(1).resume(vm);
        let mut bench = Bench::new(&mut s, &mut places);
        bench.hear(&mut s);
        assert_eq!(bench.rules.contains(&"R53"), !is_enough, "{room}: {:?}", bench.rules);
    }
}

/// Facts of a VMID that is no VM's any more give way when there is no room: the VM that had it, and another that runs.
fn crowded() -> (Scene, Vm, Vm) {
    let (mut s, vm, pages) = one_vm(8);
    let running = s.tree(2, 2, 39, 1);
    s.enter(running);
    let page = s.map(running, IPA, 3);
    s.lock(1);
    pages.iter().step_by(2).for_each(|page| _ = s.break_(*page));
    // The VM has another VMID from now on, under which it does not run.
    s.dsb("ish").unlock(1).lock(0x99).bind(vm.renumbered(9)).unlock(0x99);
    s.lock(2).break_(page).unlock(2);
    (s, vm, running)
}

/// Returns what a judge with room for four facts says.
fn judged_in_four(mut s: Scene) -> Vec<&'static str> {
    let mut places = [Held::default(); 4];
    let mut bench = Bench::new(&mut s, &mut places);
    bench.hear(&mut s);
    bench.rules
}

/// The VMID is another VM's, after `flush`.
fn forgotten(flush: impl FnOnce(&mut Scene)) -> Vec<&'static str> {
    let (mut s, _, running) = crowded();
    s.flush_vmid().resume(running).stop(running);
    flush(&mut s);
    let other = s.tree(3, 1, 39, 1);
    s.switch(other).eret(3, 0);
    judged_in_four(s)
}

#[test]
fn r27_what_gave_way_is_not_taken_for_gone() {
    assert_eq!(forgotten(|_| {}), ["R27"]);
    assert_eq!(forgotten(|s| _ = s.flush_vmid()), ["R27"], "that is another VMID");
    assert!(forgotten(|s| _ = s.flush_all()).is_empty());
}

#[test]
fn r27_what_gave_way_is_nothing_to_who_runs() {
    let (mut s, _, running) = crowded();
    s.resume(running);
    assert!(judged_in_four(s).is_empty());
}

/// The VMID is its old VM's again, which runs after `flush`.
fn returned(flush: impl FnOnce(&mut Scene)) -> Vec<&'static str> {
    let (mut s, vm, _) = crowded();
    s.lock(0x99).bind(vm).switch(vm).unlock(0x99);
    flush(&mut s);
    s.resume(vm);
    judged_in_four(s)
}

#[test]
fn r27_what_gave_way_is_not_taken_for_gone_when_its_vm_comes_back() {
    assert_eq!(returned(|_| {}), ["R27"]);
    assert!(returned(|s| _ = s.flush_vmid()).is_empty());
}

#[test]
fn r53_neighbours_that_were_broken_by_notes_of_their_own_take_one_place() {
    let mut places = [Held::default(); 1];
    let (mut s, vm, pages) = one_vm(8);
    s.lock(1);
    for (number, page) in (1..).zip(&pages) {
        s.w(page.slot, number << 12);
    }
    s.flush_vmid().unlock(1).resume(vm);
    let mut bench = Bench::new(&mut s, &mut places);
    bench.hear(&mut s);
    assert!(bench.rules.is_empty(), "{:?}", bench.rules);
}
