// Zircon's calls by hypercalls. Arguments go as they are: what is wrong with them the hypervisor finds.

#include <zircon/syscalls.h>

#include "calls.h"
#include "guest.h"

// The results of a call, x1 to x3.
typedef struct results {
  uint64_t x1, x2, x3;
} results_t;

// In boot.S. Takes the function id, x1 to x7, and room for x1 to x3.
zx_status_t guest_call(uint32_t id, const uint64_t arguments[7], results_t* results);

static zx_status_t call(uint32_t number, results_t* results, const uint64_t arguments[7]) {
  return guest_call(0xc6000000u + number, arguments, results);
}

// Makes a call; arguments that are left out are 0.
#define CALL(number, results, ...) call(number, results, (const uint64_t[7]){__VA_ARGS__})

// Makes a call without results.
#define STATUS_OF(number, ...) CALL(number, &(results_t){0}, __VA_ARGS__)

static uint64_t address(const volatile void* pointer) { return (uint64_t)(uintptr_t)pointer; }

// Stores the handle that a call made, or closes it where nobody takes it.
static zx_status_t take_handle(zx_status_t status, uint64_t handle, zx_handle_t* out) {
  if (status == ZX_OK && out == NULL) {
    zx_handle_close((zx_handle_t)handle);
    return ZX_ERR_INVALID_ARGS;
  }
  if (status == ZX_OK) {
    *out = (zx_handle_t)handle;
  }
  return status;
}

// Makes a call whose one result is a handle, and stores that.
#define HANDLE_OF(out, number, ...)                              \
  do {                                                           \
    results_t results;                                           \
    zx_status_t status = CALL(number, &results, __VA_ARGS__);    \
    return take_handle(status, results.x1, out);                 \
  } while (0)

zx_status_t guest_startup_handle(uint32_t kind, zx_handle_t* out) { HANDLE_OF(out, CALL_STARTUP_HANDLE, kind); }

zx_status_t guest_ram_vmo(zx_handle_t* out) { return guest_startup_handle(STARTUP_RAM_VMO, out); }

zx_status_t guest_mmio_resource(zx_handle_t* out) { return guest_startup_handle(STARTUP_MMIO_RESOURCE, out); }

zx_status_t zx_handle_close(zx_handle_t handle) { return STATUS_OF(CALL_HANDLE_CLOSE, handle); }

zx_status_t zx_handle_close_many(const zx_handle_t* handles, size_t num_handles) {
  return STATUS_OF(CALL_HANDLE_CLOSE_MANY, address(handles), num_handles);
}

zx_status_t zx_handle_duplicate(zx_handle_t handle, zx_rights_t rights, zx_handle_t* out) {
  HANDLE_OF(out, CALL_HANDLE_DUPLICATE, handle, rights);
}

zx_status_t zx_handle_replace(zx_handle_t handle, zx_rights_t rights, zx_handle_t* out) {
  HANDLE_OF(out, CALL_HANDLE_REPLACE, handle, rights);
}

zx_status_t zx_object_get_info(zx_handle_t handle, uint32_t topic, void* buffer, size_t buffer_size, size_t* actual,
                               size_t* avail) {
  results_t results;
  zx_status_t status = CALL(CALL_OBJECT_GET_INFO, &results, handle, topic, address(buffer), buffer_size);
  if (status == ZX_OK || status == ZX_ERR_BUFFER_TOO_SMALL) {
    if (actual != NULL) {
      *actual = results.x1;
    }
    if (avail != NULL) {
      *avail = results.x2;
    }
  }
  return status;
}

zx_status_t zx_object_get_property(zx_handle_t handle, uint32_t property, void* value, size_t value_size) {
  return STATUS_OF(CALL_OBJECT_GET_PROPERTY, handle, property, address(value), value_size);
}

zx_status_t zx_object_set_property(zx_handle_t handle, uint32_t property, const void* value, size_t value_size) {
  return STATUS_OF(CALL_OBJECT_SET_PROPERTY, handle, property, address(value), value_size);
}

zx_status_t zx_object_wait_one(zx_handle_t handle, zx_signals_t signals, zx_time_t deadline, zx_signals_t* observed) {
  results_t results;
  zx_status_t status = CALL(CALL_OBJECT_WAIT_ONE, &results, handle, signals, (uint64_t)deadline);
  if (observed != NULL && (status == ZX_OK || status == ZX_ERR_TIMED_OUT)) {
    *observed = (zx_signals_t)results.x1;
  }
  return status;
}

zx_status_t zx_vmar_allocate(zx_handle_t parent_vmar, zx_vm_option_t options, uint64_t offset, uint64_t size,
                             zx_handle_t* child_vmar, zx_vaddr_t* child_addr) {
  results_t results;
  zx_status_t status = CALL(CALL_VMAR_ALLOCATE, &results, parent_vmar, options, offset, size);
  if (status != ZX_OK) {
    return status;
  }
  if (child_vmar == NULL || child_addr == NULL) {
    zx_vmar_destroy((zx_handle_t)results.x1);
    return take_handle(ZX_OK, results.x1, NULL);
  }
  *child_vmar = (zx_handle_t)results.x1;
  *child_addr = results.x2;
  return ZX_OK;
}

zx_status_t zx_vmar_destroy(zx_handle_t handle) { return STATUS_OF(CALL_VMAR_DESTROY, handle); }

zx_status_t zx_vmar_map(zx_handle_t handle, zx_vm_option_t options, uint64_t vmar_offset, zx_handle_t vmo,
                        uint64_t vmo_offset, uint64_t len, zx_vaddr_t* mapped_addr) {
  results_t results;
  zx_status_t status = CALL(CALL_VMAR_MAP, &results, handle, options, vmar_offset, vmo, vmo_offset, len);
  if (status != ZX_OK) {
    return status;
  }
  if (mapped_addr == NULL) {
    uint64_t page = zx_system_get_page_size();
    zx_vmar_unmap(handle, results.x1, (len + page - 1) & ~(page - 1));
    return ZX_ERR_INVALID_ARGS;
  }
  *mapped_addr = results.x1;
  return ZX_OK;
}

zx_status_t zx_vmar_unmap(zx_handle_t handle, zx_vaddr_t addr, uint64_t len) {
  return STATUS_OF(CALL_VMAR_UNMAP, handle, addr, len);
}

zx_status_t zx_vmar_protect(zx_handle_t handle, zx_vm_option_t options, zx_vaddr_t addr, uint64_t len) {
  return STATUS_OF(CALL_VMAR_PROTECT, handle, options, addr, len);
}

zx_status_t zx_vmar_op_range(zx_handle_t handle, uint32_t op, zx_vaddr_t addr, uint64_t size, void* buffer,
                             size_t buffer_size) {
  return STATUS_OF(CALL_VMAR_OP_RANGE, handle, op, addr, size, address(buffer), buffer_size);
}

zx_status_t zx_vmo_create(uint64_t size, uint32_t options, zx_handle_t* out) {
  HANDLE_OF(out, CALL_VMO_CREATE, size, options);
}

zx_status_t zx_vmo_create_child(zx_handle_t handle, uint32_t options, uint64_t offset, uint64_t size, zx_handle_t* out) {
  HANDLE_OF(out, CALL_VMO_CREATE_CHILD, handle, options, offset, size);
}

zx_status_t zx_vmo_create_contiguous(zx_handle_t bti, size_t size, uint32_t alignment_log2, zx_handle_t* out) {
  (void)bti;
  HANDLE_OF(out, CALL_VMO_CREATE_CONTIGUOUS, size, alignment_log2);
}

zx_status_t zx_vmo_create_physical(zx_handle_t resource, zx_paddr_t paddr, size_t size, zx_handle_t* out) {
  HANDLE_OF(out, CALL_VMO_CREATE_PHYSICAL, resource, paddr, size);
}

zx_status_t zx_vmo_read(zx_handle_t handle, void* buffer, uint64_t offset, size_t buffer_size) {
  return STATUS_OF(CALL_VMO_READ, handle, address(buffer), offset, buffer_size);
}

zx_status_t zx_vmo_write(zx_handle_t handle, const void* buffer, uint64_t offset, size_t buffer_size) {
  return STATUS_OF(CALL_VMO_WRITE, handle, address(buffer), offset, buffer_size);
}

zx_status_t zx_vmo_get_size(zx_handle_t handle, uint64_t* size) {
  results_t results;
  zx_status_t status = CALL(CALL_VMO_GET_SIZE, &results, handle);
  if (status == ZX_OK && size == NULL) {
    return ZX_ERR_INVALID_ARGS;
  }
  if (status == ZX_OK) {
    *size = results.x1;
  }
  return status;
}

zx_status_t zx_vmo_set_size(zx_handle_t handle, uint64_t size) { return STATUS_OF(CALL_VMO_SET_SIZE, handle, size); }

zx_status_t zx_vmo_op_range(zx_handle_t handle, uint32_t op, uint64_t offset, uint64_t size, void* buffer,
                            size_t buffer_size) {
  return STATUS_OF(CALL_VMO_OP_RANGE, handle, op, offset, size, address(buffer), buffer_size);
}

zx_status_t zx_vmo_replace_as_executable(zx_handle_t handle, zx_handle_t vmex, zx_handle_t* out) {
  HANDLE_OF(out, CALL_VMO_REPLACE_AS_EXECUTABLE, handle, vmex);
}

zx_status_t zx_vmo_set_cache_policy(zx_handle_t handle, uint32_t cache_policy) {
  return STATUS_OF(CALL_VMO_SET_CACHE_POLICY, handle, cache_policy);
}

zx_status_t zx_bti_create(zx_handle_t iommu, uint32_t options, uint64_t bti_id, zx_handle_t* out) {
  (void)bti_id;
  if (options != 0) {
    return ZX_ERR_INVALID_ARGS;
  }
  HANDLE_OF(out, CALL_BTI_CREATE, iommu);
}

zx_status_t zx_bti_pin(zx_handle_t handle, uint32_t options, zx_handle_t vmo, uint64_t offset, uint64_t size,
                       zx_paddr_t* addrs, size_t num_addrs, zx_handle_t* pmt) {
  HANDLE_OF(pmt, CALL_BTI_PIN, handle, options, vmo, offset, size, address(addrs), num_addrs);
}

zx_status_t zx_pmt_unpin(zx_handle_t handle) { return STATUS_OF(CALL_PMT_UNPIN, handle); }

zx_instant_mono_t zx_clock_get_monotonic(void) {
  results_t results = {0};
  CALL(CALL_CLOCK_GET_MONOTONIC, &results, 0);
  return (zx_instant_mono_t)results.x1;
}

zx_instant_mono_t zx_deadline_after(zx_duration_mono_t nanoseconds) {
  zx_instant_mono_t deadline;
  if (__builtin_add_overflow(zx_clock_get_monotonic(), nanoseconds, &deadline)) {
    return nanoseconds < 0 ? ZX_TIME_INFINITE_PAST : ZX_TIME_INFINITE;
  }
  return deadline;
}

zx_status_t zx_nanosleep(zx_instant_mono_t deadline) { return STATUS_OF(CALL_NANOSLEEP, (uint64_t)deadline); }

zx_status_t zx_thread_legacy_yield(uint32_t options) {
  return options != 0 ? ZX_ERR_INVALID_ARGS : STATUS_OF(CALL_YIELD, 0);
}

void zx_process_exit(int64_t retcode) {
  for (;;) {
    STATUS_OF(CALL_EXIT, (uint32_t)retcode);
  }
}

uint32_t zx_system_get_page_size(void) { return 4096; }

zx_status_t zx_debug_read(zx_handle_t handle, char* buffer, size_t buffer_size, size_t* actual) {
  (void)handle;
  results_t results;
  zx_status_t status = CALL(CALL_DEBUG_READ, &results, address(buffer), buffer_size);
  if (status == ZX_OK && actual == NULL) {
    return ZX_ERR_INVALID_ARGS;
  }
  if (status == ZX_OK) {
    *actual = results.x1;
  }
  return status;
}

zx_status_t zx_debug_write(const char* buffer, size_t buffer_size) {
  return STATUS_OF(CALL_DEBUG_WRITE, address(buffer), buffer_size);
}
