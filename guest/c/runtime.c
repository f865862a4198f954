// What runs before main and after it, the console, and the four functions that compilers call by themselves.

#include "guest.h"

#include <zircon/process.h>
#include <zircon/status.h>

#include "calls.h"

static zx_handle_t root_vmar, vm;

_Noreturn void guest_start(void);
_Noreturn void guest_exception(uint64_t esr, uint64_t far, uint64_t elr);

_Noreturn void guest_start(void) {
  zx_status_t status = guest_startup_handle(STARTUP_ROOT_VMAR, &root_vmar);
  if (status == ZX_OK) {
    status = guest_startup_handle(STARTUP_VM, &vm);
  }
  zx_process_exit(status == ZX_OK ? main() : status);
}

_Noreturn void guest_exception(uint64_t esr, uint64_t far, uint64_t elr) {
  puts("an exception that nobody expected:");
  put_value("ESR", esr);
  put_value("FAR", far);
  put_value("ELR", elr);
  zx_process_exit(1);
}

zx_handle_t zx_vmar_root_self(void) { return root_vmar; }

zx_handle_t zx_process_self(void) { return vm; }

static size_t length(const char* text) {
  size_t len = 0;
  while (text[len] != '\0') {
    len++;
  }
  return len;
}

static void put(const char* text) { zx_debug_write(text, length(text)); }

int puts(const char* text) {
  put(text);
  put("\n");
  return 0;
}

void put_value(const char* name, uint64_t value) {
  char digits[2 + 16 + 1];
  char* first = &digits[sizeof digits - 1];
  *first = '\0';
  do {
    *--first = "0123456789abcdef"[value & 0xf];
    value >>= 4;
  } while (value != 0);
  *--first = 'x';
  *--first = '0';
  put(name);
  put(" = ");
  puts(first);
}

void* memset(void* to, int byte, size_t len) {
  for (size_t i = 0; i < len; i++) {
    ((unsigned char*)to)[i] = (unsigned char)byte;
  }
  return to;
}

void* memcpy(void* restrict to, const void* restrict from, size_t len) {
  for (size_t i = 0; i < len; i++) {
    ((unsigned char*)to)[i] = ((const unsigned char*)from)[i];
  }
  return to;
}

void* memmove(void* to, const void* from, size_t len) {
  if ((uintptr_t)to - (uintptr_t)from >= len) {
    return memcpy(to, from, len);
  }
  while (len-- > 0) {
    ((unsigned char*)to)[len] = ((const unsigned char*)from)[len];
  }
  return to;
}

int memcmp(const void* left, const void* right, size_t len) {
  const unsigned char *l = left, *r = right;
  for (size_t i = 0; i < len; i++) {
    if (l[i] != r[i]) {
      return l[i] < r[i] ? -1 : 1;
    }
  }
  return 0;
}
