// Zircon's calls, as far as Stagecraft has them: the same functions with the same parameters. Each makes one hypercall
// (hypervisor/abi/CONTRACT.md), which tells what it does and in which order its arguments are tested.
//
// What is different from Zircon:
// - Addresses are the VM's guest-physical addresses. guest/c runs programs where these are what pointers hold.
// - A buffer that is not mapped as the call needs it is ZX_ERR_INVALID_ARGS, and nothing has happened then.
// - Results go to memory of the program after the call, by the program itself, and only where the call succeeded; but
//   zx_object_get_info tells `actual` and `avail` with ZX_ERR_BUFFER_TOO_SMALL too, and zx_object_wait_one `observed` with
//   ZX_ERR_TIMED_OUT. A null pointer for a result that is not optional is ZX_ERR_INVALID_ARGS, once all else succeeded, and what
//   was made is unmade. Any other pointer to where nothing can be written is an abort of the program, not a status.
// - zx_vmar_unmap and zx_vmar_op_range mean what Zircon's pages say or what its kernel does, by the VM's boot argument
//   `dialect=`. A length that is no whole number of pages is among the differences.
// - Arguments that there is nothing for here are named at the functions that have them.

#ifndef ZIRCON_SYSCALLS_H_
#define ZIRCON_SYSCALLS_H_

#include <zircon/syscalls/object.h>
#include <zircon/types.h>

#ifdef __cplusplus
extern "C" {
#endif

// --- handles ---

zx_status_t zx_handle_close(zx_handle_t handle);
// Closes all that are handles; ZX_ERR_BAD_HANDLE where one was none.
zx_status_t zx_handle_close_many(const zx_handle_t* handles, size_t num_handles);
zx_status_t zx_handle_duplicate(zx_handle_t handle, zx_rights_t rights, zx_handle_t* out);
// The handle is gone whatever comes of it.
zx_status_t zx_handle_replace(zx_handle_t handle, zx_rights_t rights, zx_handle_t* out);

// --- objects of any type ---

// `actual` and `avail` may be null.
zx_status_t zx_object_get_info(zx_handle_t handle, uint32_t topic, void* buffer, size_t buffer_size, size_t* actual,
                               size_t* avail);
zx_status_t zx_object_get_property(zx_handle_t handle, uint32_t property, void* value, size_t value_size);
zx_status_t zx_object_set_property(zx_handle_t handle, uint32_t property, const void* value, size_t value_size);
// `observed` may be null.
zx_status_t zx_object_wait_one(zx_handle_t handle, zx_signals_t signals, zx_time_t deadline, zx_signals_t* observed);

// --- regions of the address space ---

zx_status_t zx_vmar_allocate(zx_handle_t parent_vmar, zx_vm_option_t options, uint64_t offset, uint64_t size,
                             zx_handle_t* child_vmar, zx_vaddr_t* child_addr);
zx_status_t zx_vmar_destroy(zx_handle_t handle);
zx_status_t zx_vmar_map(zx_handle_t handle, zx_vm_option_t options, uint64_t vmar_offset, zx_handle_t vmo,
                        uint64_t vmo_offset, uint64_t len, zx_vaddr_t* mapped_addr);
zx_status_t zx_vmar_unmap(zx_handle_t handle, zx_vaddr_t addr, uint64_t len);
zx_status_t zx_vmar_protect(zx_handle_t handle, zx_vm_option_t options, zx_vaddr_t addr, uint64_t len);
zx_status_t zx_vmar_op_range(zx_handle_t handle, uint32_t op, zx_vaddr_t address, uint64_t size, void* buffer,
                             size_t buffer_size);

// --- VMOs ---

zx_status_t zx_vmo_create(uint64_t size, uint32_t options, zx_handle_t* out);
zx_status_t zx_vmo_create_child(zx_handle_t handle, uint32_t options, uint64_t offset, uint64_t size, zx_handle_t* out);
// No BTI is needed: `bti` is not looked at.
zx_status_t zx_vmo_create_contiguous(zx_handle_t bti, size_t size, uint32_t alignment_log2, zx_handle_t* out);
// `resource` is what guest_mmio_resource gives.
zx_status_t zx_vmo_create_physical(zx_handle_t resource, zx_paddr_t paddr, size_t size, zx_handle_t* out);
zx_status_t zx_vmo_read(zx_handle_t handle, void* buffer, uint64_t offset, size_t buffer_size);
zx_status_t zx_vmo_write(zx_handle_t handle, const void* buffer, uint64_t offset, size_t buffer_size);
zx_status_t zx_vmo_get_size(zx_handle_t handle, uint64_t* size);
zx_status_t zx_vmo_set_size(zx_handle_t handle, uint64_t size);
zx_status_t zx_vmo_op_range(zx_handle_t handle, uint32_t op, uint64_t offset, uint64_t size, void* buffer,
                            size_t buffer_size);
// `vmex` must be ZX_HANDLE_INVALID. The handle is gone whatever comes of it.
zx_status_t zx_vmo_replace_as_executable(zx_handle_t handle, zx_handle_t vmex, zx_handle_t* out);
zx_status_t zx_vmo_set_cache_policy(zx_handle_t handle, uint32_t cache_policy);

// --- pinned memory ---

// In the place of an IOMMU `iommu` is the resource that guest_mmio_resource gives. `options` must be 0; `bti_id` is not looked at.
zx_status_t zx_bti_create(zx_handle_t iommu, uint32_t options, uint64_t bti_id, zx_handle_t* out);
zx_status_t zx_bti_pin(zx_handle_t handle, uint32_t options, zx_handle_t vmo, uint64_t offset, uint64_t size,
                       zx_paddr_t* addrs, size_t num_addrs, zx_handle_t* pmt);
zx_status_t zx_pmt_unpin(zx_handle_t handle);

// --- time ---

zx_instant_mono_t zx_clock_get_monotonic(void);
zx_instant_mono_t zx_deadline_after(zx_duration_mono_t nanoseconds);
zx_status_t zx_nanosleep(zx_instant_mono_t deadline);
// `options` must be 0.
zx_status_t zx_thread_legacy_yield(uint32_t options);

// --- the VM ---

// Ends the VM, with the low 32 bits as its status.
__attribute__((noreturn)) void zx_process_exit(int64_t retcode);
uint32_t zx_system_get_page_size(void);

// --- the console ---

// `handle`, Zircon's debug resource, is not looked at. It does not wait: *actual is 0 where nothing was typed.
zx_status_t zx_debug_read(zx_handle_t handle, char* buffer, size_t buffer_size, size_t* actual);
zx_status_t zx_debug_write(const char* buffer, size_t buffer_size);

#ifdef __cplusplus
}
#endif

#endif
