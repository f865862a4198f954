//! What operations cost.

use super::super::costs::{Costs, Row};
use super::super::data::Data;
use super::sample;

/// The numbers of a row that the test below has in a table.
fn numbers(row: &Row) -> (&'static str, Option<u64>, [u64; 6]) {
    let Costs { events, stores, tlbis, dsbs, isbs } = row.costs;
    // By range and of stage 1: the sample has no others.
    assert_eq!(tlbis.iter().sum::<u64>(), tlbis[1] + tlbis[4]);
    (row.name, row.count, [stores, tlbis[1], tlbis[4], dsbs, isbs, events])
}

#[test]
fn each_kind_of_operation_has_what_its_operations_did() {
    let data = Data::new("a", &sample::failing(), Vec::new()).unwrap();
    // Stores, TLBIs by range and of stage 1, DSBs, ISBs, events.
    let expected = [
        ("map", Some(2), [2 + 21 + 1, 0, 0, 4, 0, 30 + 8]),
        ("fault", Some(1), [1, 0, 0, 1, 0, 7]),
        ("protect", Some(1), [3, 1, 1, 3, 0, 10]),
        ("unmap", Some(1), [16, 1, 1, 3, 0, 25]),
        ("commit", Some(1), [4, 1, 0, 3, 0, 13]),
        ("age", Some(1), [3, 0, 0, 1, 0, 6]),
        ("all operations", Some(7), [51, 3, 2, 15, 0, 99]),
        ("outside operations", None, [0, 0, 0, 1, 2, 27]),
    ];
    assert_eq!(data.costs.iter().map(numbers).collect::<Vec<_>>(), expected);
}

#[test]
fn a_status_other_than_0_is_a_refusal_and_no_status_is_none() {
    let operation = |end| format!("cpu=0x0 OP begin=unmap vm=0x1 ipa=0x0 pages=0x1\n{end}");
    let [right, refused, open] = ["cpu=0x0 OP end=0x0\n", "cpu=0x0 OP end=0xfffffff6\n", ""].map(operation);
    let trace = [right, refused.clone(), refused, open].concat();
    let data = Data::new("a", &trace, Vec::new()).unwrap();
    assert_eq!((data.costs[0].count, data.costs[0].refused), (Some(4), 2));
}

#[test]
fn invalidations_are_told_apart_by_what_they_are_about() {
    let ops = ["ipas2e1is", "ripas2le1is", "vmalls12e1", "alle1is", "vmalle1os", "vae1is", "alle2"];
    let trace: String = ops.map(|op| format!("cpu=0x0 TLBI op={op} xt=0x0\n")).concat();
    let data = Data::new("a", &trace, Vec::new()).unwrap();
    assert_eq!(data.costs.last().unwrap().costs.tlbis, [1; 7]);
}
