//! Names, signals and counts of handles.

use crate::arena::{Arena, RW, empty_vmo, marked_vmo, snapshot, vmo_without};
use crate::case::cases;
use crate::check::{Check, load, store};
use crate::slices::zero_children;
use abi::{Call, NAME_LEN};
use zx::sys::hypercall;
use zx::{
    Handle, Object, PAGE_SIZE, RawHandle, Rights, Signals, Status, Unowned, Vm, Vmar, Vmo, Waited,
    clock_get_monotonic_ns,
};

cases! {
    #[kernel]
    fn N70_name_of_a_vmo() {
        let vmo = empty_vmo(1);
        assert_eq!(vmo.name().succeeds().as_bytes(), b"");
        vmo.set_name(b"a name").succeeds();
        assert_eq!(vmo.name().succeeds().as_bytes(), b"a name");
        assert_eq!(&vmo.info().succeeds().name[..7], b"a name\0");
        vmo.set_name(b"").succeeds();
        assert_eq!(vmo.name().succeeds().as_bytes(), b"");
    }

    #[kernel]
    fn N70_long_name_is_cut() {
        let vmo = empty_vmo(1);
        vmo.set_name(&[b'x'; 40]).succeeds();
        assert_eq!(vmo.name().succeeds().as_bytes(), [b'x'; NAME_LEN - 1]);
        vmo.set_name(b"short\0and more").succeeds();
        let name = vmo.name().succeeds();
        assert_eq!((name.as_bytes(), name.as_array()[6..].iter().all(|byte| *byte == 0)), (b"short".as_slice(), true));
    }

    #[kernel]
    fn N70_handles_share_the_name() {
        let vmo = empty_vmo(1);
        let other = vmo.duplicate(Rights::SAME_RIGHTS).succeeds();
        other.set_name(b"shared").succeeds();
        assert_eq!(vmo.name().succeeds().as_bytes(), b"shared");
    }

    #[kernel]
    fn N70_ram_has_a_name() {
        assert_eq!(Vmo::ram().succeeds().name().succeeds().as_bytes(), b"ram");
    }

    #[kernel]
    fn N71_names_need_their_rights() {
        let vmo = empty_vmo(1);
        vmo_without(&vmo, Rights::GET_PROPERTY).name().fails_with(Status::ACCESS_DENIED);
        vmo_without(&vmo, Rights::SET_PROPERTY).set_name(b"x").fails_with(Status::ACCESS_DENIED);
        vmo_without(&vmo, Rights::GET_PROPERTY).set_name(b"x").succeeds();
        assert_eq!(vmo_without(&vmo, Rights::SET_PROPERTY).name().succeeds().as_bytes(), b"x");
    }

    #[kernel]
    fn N72_name_into_a_buffer_that_is_too_small() {
        let (arena, vmo) = (Arena::new(1), empty_vmo(1));
        arena.map(0, 1);
        vmo.set_name(b"a name").succeeds();
        let get = |len_bytes| hypercall(Call::ObjectGetProperty, [vmo.register(), NAME, arena.page(0), len_bytes]);
        store(arena.page(0), 5);
        get(NAME_LEN as u64 - 1).ok().fails_with(Status::BUFFER_TOO_SMALL);
        crate::check::reads(arena.page(0), 5);
        get(NAME_LEN as u64).ok().succeeds();
        assert_eq!(load(arena.page(0)).to_le_bytes(), *b"a name\0\0");
    }

    #[kernel]
    fn N73_properties_that_there_are_not() {
        let vmo = empty_vmo(1);
        let mut name = [0_u8; NAME_LEN];
        let buffer = (&raw mut name).expose_provenance() as u64;
        for property in [0, 1, 2, 5, 6, 17, 0xffff_ffff] {
            let arguments = [vmo.register(), property, buffer, NAME_LEN as u64];
            hypercall(Call::ObjectGetProperty, arguments).ok().fails_with(Status::NOT_SUPPORTED);
            hypercall(Call::ObjectSetProperty, arguments).ok().fails_with(Status::NOT_SUPPORTED);
        }
        let no_right = vmo_without(&vmo, Rights::GET_PROPERTY);
        let arguments = [no_right.register(), 0, buffer, NAME_LEN as u64];
        hypercall(Call::ObjectGetProperty, arguments).ok().fails_with(Status::ACCESS_DENIED);
        let none = Unowned::<Vmo>::from_raw(RawHandle::INVALID);
        none.name().fails_with(Status::BAD_HANDLE);
        none.set_name(b"x").fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn N74_name_in_a_bad_buffer() {
        let vmo = empty_vmo(1);
        vmo.set_name(b"kept").succeeds();
        let arguments = [vmo.register(), NAME, Arena::BASE, NAME_LEN as u64];
        hypercall(Call::ObjectGetProperty, arguments).ok().fails_with(Status::INVALID_ARGS);
        hypercall(Call::ObjectSetProperty, arguments).ok().fails_with(Status::INVALID_ARGS);
        assert_eq!(vmo.name().succeeds().as_bytes(), b"kept");
    }

    #[kernel]
    fn N75_wait_for_what_is_asserted() {
        let vmo = empty_vmo(1);
        zero_children(&vmo, true);
        let waited = vmo.wait_one(Signals::VMO_ZERO_CHILDREN, i64::MAX as u64);
        assert_eq!(waited, Waited::Asserted(Signals::VMO_ZERO_CHILDREN));
    }

    #[kernel]
    fn N75_wait_ends_at_its_deadline() {
        let vmo = marked_vmo(1);
        let _child = snapshot(&vmo, 0, 1);
        let deadline = clock_get_monotonic_ns().succeeds() + 20_000_000;
        let waited = vmo.wait_one(Signals::VMO_ZERO_CHILDREN, deadline);
        assert_eq!(waited, Waited::TimedOut(Signals::empty()));
        assert!(clock_get_monotonic_ns().succeeds() >= deadline, "it returned too early");
    }

    #[kernel]
    fn N75_wait_for_other_signals_ends_at_its_deadline() {
        let vmo = empty_vmo(1);
        for signals in [Signals::empty(), Signals::from_bits_retain(1), Signals::from_bits_retain(1 << 24)] {
            assert_eq!(vmo.wait_one(signals, 0), Waited::TimedOut(Signals::VMO_ZERO_CHILDREN));
        }
    }

    #[kernel]
    fn N76_wait_refused() {
        let vmo = empty_vmo(1);
        let weak = vmo_without(&vmo, Rights::WAIT);
        let signal = Signals::VMO_ZERO_CHILDREN;
        assert_eq!(weak.wait_one(signal, 0), Waited::Refused(Status::ACCESS_DENIED));
        let none = Unowned::<Vmo>::from_raw(RawHandle::INVALID);
        assert_eq!(none.wait_one(signal, 0), Waited::Refused(Status::BAD_HANDLE));
        // The handles of VMARs never have WAIT.
        assert_eq!(Arena::new(1).vmar.wait_one(signal, 0), Waited::Refused(Status::ACCESS_DENIED));
    }

    #[kernel("smp=2")]
    fn N77_wait_ends_when_another_vcpu_closes_the_last_child() {
        crate::races::closes_a_child_while_this_vcpu_waits();
    }

    #[kernel]
    fn N78_handles_are_counted() {
        let vmo = empty_vmo(1);
        assert_eq!(vmo.handle_count(), Ok(1));
        let second = vmo.duplicate(Rights::SAME_RIGHTS).succeeds();
        assert_eq!((vmo.handle_count(), second.handle_count()), (Ok(2), Ok(2)));
        let arena = Arena::new(1);
        arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
        assert_eq!(vmo.handle_count(), Ok(2), "a mapping is no handle");
        drop(second);
        assert_eq!(vmo.handle_count(), Ok(1));
        assert_eq!((Vm::current().succeeds().handle_count(), arena.vmar.handle_count()), (Ok(1), Ok(1)));
        let (_root, root) = (Vmar::root().succeeds(), Vmar::root().succeeds());
        assert_eq!(root.handle_count(), Ok(2));
    }

    #[kernel]
    fn N78_count_of_handles_needs_inspect() {
        vmo_without(&empty_vmo(1), Rights::INSPECT).handle_count().fails_with(Status::ACCESS_DENIED);
        Unowned::<Handle>::from_raw(RawHandle::INVALID).handle_count().fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn N79_child_begins_with_the_name_of_its_parent() {
        let vmo = marked_vmo(1);
        vmo.set_name(b"parent").succeeds();
        let child = snapshot(&vmo, 0, 1);
        assert_eq!(child.name().succeeds().as_bytes(), b"parent");
        child.set_name(b"child").succeeds();
        assert_eq!((vmo.name().succeeds().as_bytes(), child.name().succeeds().as_bytes()), (b"parent".as_slice(), b"child".as_slice()));
        assert_eq!(child.size_bytes(), Ok(PAGE_SIZE));
    }
}

/// `ZX_PROP_NAME`.
const NAME: u64 = 3;
