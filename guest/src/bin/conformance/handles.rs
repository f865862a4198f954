//! Handles: what they look like, what they allow, and how they are duplicated, replaced and closed.

use crate::arena::{ALL_RIGHTS, Arena};
use crate::case::cases;
use crate::check::Check;
use abi::Call;
use zx::sys::hypercall;
use zx::{
    Handle, Object, ObjectType, PAGE_SIZE, RawHandle, Rights, Status, Unowned, Vm, VmOptions, Vmar, Vmo, VmoOptions,
    close_many,
};

cases! {
    #[kernel]
    fn H01_handles_have_their_low_bits_set() {
        let arena = Arena::new(1);
        for handle in [arena.vmar.raw(), Vmo::create(PAGE_SIZE).succeeds().raw(), Vm::current().succeeds().raw()] {
            assert_eq!(handle.0 & RawHandle::FIXED_BITS, RawHandle::FIXED_BITS, "{handle:?}");
        }
    }

    #[kernel]
    fn H02_close_of_the_invalid_handle() {
        close(RawHandle::INVALID).succeeds();
    }

    #[kernel]
    fn H02_close_of_what_is_no_handle() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        close(RawHandle(vmo.raw().0 ^ 0b01)).fails_with(Status::BAD_HANDLE);
        close(RawHandle(u32::MAX)).fails_with(Status::BAD_HANDLE);
        let raw = vmo.into_raw();
        close(raw).succeeds();
        close(raw).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn H03_close_many() {
        let handles = [(); 3].map(|()| Vmo::create(PAGE_SIZE).succeeds().into_raw());
        close_many(&handles).succeeds();
        handles.into_iter().for_each(|handle| close(handle).fails_with(Status::BAD_HANDLE));
    }

    #[kernel]
    fn H03_close_many_closes_all_but_the_bad_one() {
        let [left, right] = [(); 2].map(|()| Vmo::create(PAGE_SIZE).succeeds().into_raw());
        close_many(&[left, RawHandle(u32::MAX), right]).fails_with(Status::BAD_HANDLE);
        close(left).fails_with(Status::BAD_HANDLE);
        close(right).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn H03_close_many_with_one_twice() {
        let handle = Vmo::create(PAGE_SIZE).succeeds().into_raw();
        close_many(&[handle, handle]).fails_with(Status::BAD_HANDLE);
        close(handle).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn H04_duplicate_names_the_same_object() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let same = vmo.duplicate(Rights::SAME_RIGHTS).succeeds();
        let weaker = vmo.duplicate(Rights::READ | Rights::INSPECT).succeeds();
        let [of_vmo, of_same, of_weaker] = [&vmo, &same, &weaker].map(|vmo| vmo.basic_info().succeeds());
        assert_eq!(of_same, of_vmo);
        assert_eq!((of_weaker.koid, of_weaker.rights), (of_vmo.koid, (Rights::READ | Rights::INSPECT).bits()));
        vmo.write(&[7], 0).succeeds();
        let mut byte = [0];
        weaker.read(&mut byte, 0).succeeds();
        assert_eq!(byte, [7]);
    }

    #[kernel]
    fn H04_duplicate_outlives_the_original() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let other = vmo.duplicate(Rights::SAME_RIGHTS).succeeds();
        drop(vmo);
        other.write(&[7], 0).succeeds();
    }

    #[kernel]
    fn H05_duplicate_refused() {
        let none = Unowned::<Handle>::from_raw(RawHandle::INVALID);
        none.duplicate(Rights::SAME_RIGHTS).fails_with(Status::BAD_HANDLE);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        vmo.duplicate(Rights::DEFAULT_VMO | Rights::EXECUTE).fails_with(Status::INVALID_ARGS);
        vmo.duplicate(Rights::SAME_RIGHTS | Rights::READ).fails_with(Status::INVALID_ARGS);
        let fixed = vmo.duplicate(Rights::DEFAULT_VMO - Rights::DUPLICATE).succeeds();
        fixed.duplicate(Rights::SAME_RIGHTS).fails_with(Status::ACCESS_DENIED);
        fixed.duplicate(Rights::all()).fails_with(Status::ACCESS_DENIED);
    }

    #[kernel]
    fn H06_replace_needs_no_right_and_consumes_the_handle() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds().replace(Rights::READ | Rights::WRITE).succeeds();
        let old = vmo.raw();
        let replaced = vmo.replace(Rights::READ).succeeds();
        assert_eq!(replaced.basic_info().succeeds().rights, Rights::READ.bits());
        close(old).fails_with(Status::BAD_HANDLE);
        replaced.write(&[1], 0).fails_with(Status::ACCESS_DENIED);
    }

    #[kernel]
    fn H06_replace_that_fails_consumes_the_handle_too() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let old = vmo.raw();
        vmo.replace(Rights::DEFAULT_VMO | Rights::EXECUTE).fails_with(Status::INVALID_ARGS);
        close(old).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn H07_new_handles_have_the_default_rights() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        has(&vmo, ObjectType::Vmo, Rights::DEFAULT_VMO);
        let resizable = Vmo::create_with_options(VmoOptions::RESIZABLE, PAGE_SIZE).succeeds();
        has(&resizable, ObjectType::Vmo, Rights::DEFAULT_VMO | Rights::RESIZE);
        let executable = vmo.replace_as_executable().succeeds();
        has(&executable, ObjectType::Vmo, Rights::DEFAULT_VMO | Rights::EXECUTE);
        has(&Arena::new(1).vmar, ObjectType::Vmar, ALL_RIGHTS);
    }

    #[kernel]
    fn H07_new_vmar_has_the_rights_of_what_it_may_map() {
        let arena = Arena::with_options(VmOptions::CAN_MAP_READ, 1);
        has(&arena.vmar, ObjectType::Vmar, Rights::DEFAULT_VMAR | Rights::READ);
    }

    #[kernel]
    fn H08_startup_handles() {
        has(&Vmar::root().succeeds(), ObjectType::Vmar, ALL_RIGHTS);
        has(&Vmo::ram().succeeds(), ObjectType::Vmo, Rights::DEFAULT_VMO | Rights::EXECUTE);
        has(&Vm::current().succeeds(), ObjectType::Guest, Rights::DEFAULT_GUEST);
    }

    #[kernel]
    fn H08_startup_handles_are_new_at_each_call() {
        let (first, second) = (Vmar::root().succeeds(), Vmar::root().succeeds());
        assert_ne!(first.raw(), second.raw());
        assert_eq!(first.basic_info().succeeds().koid, second.basic_info().succeeds().koid);
        drop(first);
        second.info().succeeds();
    }

    #[kernel]
    fn H08_startup_handles_that_are_not_to_be_had() {
        let startup = |kind: u64| hypercall(Call::StartupHandle, [kind]).ok();
        startup(4).fails_with(Status::NOT_FOUND);
        for kind in [0, 5, u32::MAX.into()] {
            startup(kind).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn H09_koids_are_given_once() {
        let koid = |vmo: &Vmo| vmo.basic_info().succeeds().koid;
        let first = koid(&Vmo::create(PAGE_SIZE).succeeds());
        let second = koid(&Vmo::create(PAGE_SIZE).succeeds());
        assert!(first != second && first != abi::KOID_INVALID && second != abi::KOID_INVALID);
    }

    #[kernel]
    fn H10_replace_as_executable() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let arguments = [vmo.register(), 1];
        hypercall(Call::VmoReplaceAsExecutable, arguments).ok().fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn H11_many_handles() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let handles: [Vmo; 300] = core::array::from_fn(|_| vmo.duplicate(Rights::SAME_RIGHTS).succeeds());
        let koid = vmo.basic_info().succeeds().koid;
        handles.iter().for_each(|handle| assert_eq!(handle.basic_info().succeeds().koid, koid));
        let raw = handles.map(Vmo::into_raw);
        close_many(&raw).succeeds();
        raw.into_iter().for_each(|handle| close(handle).fails_with(Status::BAD_HANDLE));
    }
}

fn close(handle: RawHandle) -> zx::Result<()> {
    hypercall(Call::HandleClose, [handle.0.into()]).status().ok()
}

/// Asserts the type and the rights of a handle.
#[track_caller]
fn has(object: &impl Object, object_type: ObjectType, rights: Rights) {
    let info = object.basic_info().succeeds();
    assert_eq!(info.object_type, u32::from(object_type));
    assert_eq!(Rights::from_bits_retain(info.rights), rights);
}
