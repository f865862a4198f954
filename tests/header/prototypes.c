// What Zircon's public headers declare, in C's own types, against what the header here declares. It is compiled, and no more.

#include <zircon/process.h>
#include <zircon/status.h>
#include <zircon/syscalls.h>

#define IS(function, type) _Static_assert(__builtin_types_compatible_p(__typeof__(function), type), #function)

IS(zx_handle_close, int32_t(uint32_t));
IS(zx_handle_close_many, int32_t(const uint32_t*, size_t));
IS(zx_handle_duplicate, int32_t(uint32_t, uint32_t, uint32_t*));
IS(zx_handle_replace, int32_t(uint32_t, uint32_t, uint32_t*));

IS(zx_object_get_info, int32_t(uint32_t, uint32_t, void*, size_t, size_t*, size_t*));
IS(zx_object_get_property, int32_t(uint32_t, uint32_t, void*, size_t));
IS(zx_object_set_property, int32_t(uint32_t, uint32_t, const void*, size_t));
IS(zx_object_wait_one, int32_t(uint32_t, uint32_t, int64_t, uint32_t*));

IS(zx_vmar_allocate, int32_t(uint32_t, uint32_t, uint64_t, uint64_t, uint32_t*, uintptr_t*));
IS(zx_vmar_destroy, int32_t(uint32_t));
IS(zx_vmar_map, int32_t(uint32_t, uint32_t, uint64_t, uint32_t, uint64_t, uint64_t, uintptr_t*));
IS(zx_vmar_unmap, int32_t(uint32_t, uintptr_t, uint64_t));
IS(zx_vmar_protect, int32_t(uint32_t, uint32_t, uintptr_t, uint64_t));
IS(zx_vmar_op_range, int32_t(uint32_t, uint32_t, uintptr_t, uint64_t, void*, size_t));

IS(zx_vmo_create, int32_t(uint64_t, uint32_t, uint32_t*));
IS(zx_vmo_create_child, int32_t(uint32_t, uint32_t, uint64_t, uint64_t, uint32_t*));
IS(zx_vmo_create_contiguous, int32_t(uint32_t, size_t, uint32_t, uint32_t*));
IS(zx_vmo_create_physical, int32_t(uint32_t, uintptr_t, size_t, uint32_t*));
IS(zx_vmo_read, int32_t(uint32_t, void*, uint64_t, size_t));
IS(zx_vmo_write, int32_t(uint32_t, const void*, uint64_t, size_t));
IS(zx_vmo_get_size, int32_t(uint32_t, uint64_t*));
IS(zx_vmo_set_size, int32_t(uint32_t, uint64_t));
IS(zx_vmo_op_range, int32_t(uint32_t, uint32_t, uint64_t, uint64_t, void*, size_t));
IS(zx_vmo_replace_as_executable, int32_t(uint32_t, uint32_t, uint32_t*));
IS(zx_vmo_set_cache_policy, int32_t(uint32_t, uint32_t));

IS(zx_bti_create, int32_t(uint32_t, uint32_t, uint64_t, uint32_t*));
IS(zx_bti_pin, int32_t(uint32_t, uint32_t, uint32_t, uint64_t, uint64_t, uintptr_t*, size_t, uint32_t*));
IS(zx_pmt_unpin, int32_t(uint32_t));

IS(zx_clock_get_monotonic, int64_t(void));
IS(zx_deadline_after, int64_t(int64_t));
IS(zx_nanosleep, int32_t(int64_t));
IS(zx_thread_legacy_yield, int32_t(uint32_t));

IS(zx_process_exit, void(int64_t));
IS(zx_system_get_page_size, uint32_t(void));

IS(zx_debug_read, int32_t(uint32_t, char*, size_t, size_t*));
IS(zx_debug_write, int32_t(const char*, size_t));

IS(zx_vmar_root_self, uint32_t(void));
IS(zx_process_self, uint32_t(void));
IS(zx_status_get_string, const char*(int32_t));
