// A guest in C: it unmaps memory and looks at what is left, by the calls of Zircon's header. What is not as it should be is
// printed and counted, and the count is the VM's status.

#include <zircon/process.h>
#include <zircon/status.h>
#include <zircon/syscalls.h>

#include "guest.h"

#define PAGE ((uint64_t)4096)
#define PAGES 8

static int wrong;

static void is(const char* what, uint64_t seen, uint64_t expected) {
  if (seen != expected) {
    wrong++;
    puts(what);
    put_value("    expected", expected);
    put_value("    seen", seen);
  }
}

static void status_is(const char* what, zx_status_t seen, zx_status_t expected) {
  if (seen != expected) {
    wrong++;
    puts(what);
    puts(zx_status_get_string(expected));
    puts(zx_status_get_string(seen));
  }
}

// Prints which pages of a range can be loaded from: `1` for one that can.
static void show(const char* step, zx_vaddr_t base) {
  char line[PAGES + 1];
  for (uint64_t page = 0; page < PAGES; page++) {
    uint64_t value;
    line[page] = guest_load(base + page * PAGE, &value) ? '1' : '0';
  }
  line[PAGES] = '\0';
  puts(step);
  puts(line);
}

static uint64_t* word(zx_vaddr_t base, uint64_t page) { return (uint64_t*)(base + page * PAGE); }

static uint64_t committed(zx_handle_t vmo) {
  zx_info_vmo_t info;
  size_t actual = 0, avail = 0;
  status_is("ZX_INFO_VMO", zx_object_get_info(vmo, ZX_INFO_VMO, &info, sizeof info, &actual, &avail), ZX_OK);
  is("actual", actual, 1);
  is("available", avail, 1);
  return info.committed_bytes / PAGE;
}

static void unmaps_a_hole(zx_handle_t region, zx_handle_t vmo, zx_vaddr_t base) {
  status_is("unmap", zx_vmar_unmap(region, base + 2 * PAGE, 3 * PAGE), ZX_OK);
  show("zx_vmar_unmap, pages 2 to 4:", base);
  is("the pages stay in the VMO", committed(vmo), PAGES);
  is("page 1", *word(base, 1), 1);
  is("page 5", *word(base, 5), 5);
}

static void decommits(zx_handle_t region, zx_handle_t vmo, zx_vaddr_t base) {
  zx_status_t status = zx_vmar_op_range(region, ZX_VMAR_OP_DECOMMIT, base, 2 * PAGE, NULL, 0);
  status_is("decommit", status, ZX_OK);
  is("a page that is decommitted", *word(base, 1), 0);
  is("committed pages", committed(vmo), PAGES - 2);
  status = zx_vmar_op_range(region, ZX_VMAR_OP_DECOMMIT, base, PAGES * PAGE, NULL, 0);
  status_is("decommit across the hole", status, ZX_ERR_BAD_STATE);
}

static void snapshots(zx_handle_t vmo) {
  zx_handle_t snapshot = ZX_HANDLE_INVALID;
  uint64_t value = 55, seen = 0;
  status_is("snapshot", zx_vmo_create_child(vmo, ZX_VMO_CHILD_SNAPSHOT, 0, PAGES * PAGE, &snapshot), ZX_OK);
  status_is("write", zx_vmo_write(vmo, &value, 5 * PAGE, sizeof value), ZX_OK);
  status_is("read", zx_vmo_read(snapshot, &seen, 5 * PAGE, sizeof seen), ZX_OK);
  is("the snapshot keeps what was there", seen, 5);
  zx_signals_t observed = 0;
  zx_status_t status = zx_object_wait_one(vmo, ZX_VMO_ZERO_CHILDREN, 0, &observed);
  status_is("wait while there is a child", status, ZX_ERR_TIMED_OUT);
  is("signals while there is a child", observed, 0);
  status_is("close", zx_handle_close(snapshot), ZX_OK);
  status = zx_object_wait_one(vmo, ZX_VMO_ZERO_CHILDREN, ZX_TIME_INFINITE, &observed);
  status_is("wait when there is none", status, ZX_OK);
  is("signals when there is none", observed, ZX_VMO_ZERO_CHILDREN);
}

static void stores_results_only_on_success(zx_handle_t region, zx_handle_t vmo) {
  zx_handle_t handle = 7;
  zx_vaddr_t address = 7;
  uint64_t size = 7;
  status_is("create", zx_vmo_create(UINT64_MAX, 0, &handle), ZX_ERR_OUT_OF_RANGE);
  status_is("map", zx_vmar_map(region, ZX_VM_PERM_WRITE, 0, vmo, 0, PAGE, &address), ZX_ERR_INVALID_ARGS);
  status_is("allocate", zx_vmar_allocate(region, 0, 0, 1, &handle, &address), ZX_ERR_INVALID_ARGS);
  status_is("get_size", zx_vmo_get_size(region, &size), ZX_ERR_WRONG_TYPE);
  is("handle", handle, 7);
  is("address", address, 7);
  is("size", size, 7);
  status_is("create for nobody", zx_vmo_create(PAGE, 0, NULL), ZX_ERR_INVALID_ARGS);
}

int main(void) {
  zx_handle_t region, vmo;
  zx_vaddr_t base, mapped;
  const zx_vm_option_t options = ZX_VM_CAN_MAP_READ | ZX_VM_CAN_MAP_WRITE | ZX_VM_CAN_MAP_SPECIFIC;
  status_is("allocate", zx_vmar_allocate(zx_vmar_root_self(), options, 0, PAGES * PAGE, &region, &base), ZX_OK);
  status_is("create", zx_vmo_create(PAGES * PAGE, 0, &vmo), ZX_OK);
  const zx_vm_option_t placed = ZX_VM_PERM_READ | ZX_VM_PERM_WRITE | ZX_VM_SPECIFIC;
  status_is("map", zx_vmar_map(region, placed, 0, vmo, 0, PAGES * PAGE, &mapped), ZX_OK);
  is("address of the mapping", mapped, base);
  for (uint64_t page = 0; page < PAGES; page++) {
    *word(base, page) = page;
  }
  show("zx_vmar_map, eight pages:", base);
  unmaps_a_hole(region, vmo, base);
  decommits(region, vmo, base);
  snapshots(vmo);
  stores_results_only_on_success(region, vmo);
  status_is("op_range", zx_vmo_op_range(vmo, ZX_VMO_OP_ZERO, 7 * PAGE, PAGE, NULL, 0), ZX_OK);
  is("a page that was zeroed", *word(base, 7), 0);
  status_is("unmap", zx_vmar_unmap(region, base, PAGES * PAGE), ZX_OK);
  show("zx_vmar_unmap, all:", base);
  status_is("unmap of nothing", zx_vmar_unmap(region, base, PAGE), ZX_ERR_NOT_FOUND);
  status_is("destroy", zx_vmar_destroy(region), ZX_OK);
  status_is("unmap in a dead region", zx_vmar_unmap(region, base, PAGE), ZX_ERR_BAD_STATE);
  put_value("what was not as it should be", (uint64_t)wrong);
  return wrong;
}
