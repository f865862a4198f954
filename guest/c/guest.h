// What a C guest has beside Zircon's calls: the handles that it can ask for, a console, and loads that may fail.

#ifndef GUEST_H_
#define GUEST_H_

#include <stdbool.h>
#include <zircon/syscalls.h>

// The program. What it returns is the VM's status.
int main(void);

// Makes a handle to the VMO that is the VM's RAM.
zx_status_t guest_ram_vmo(zx_handle_t* out);

// Makes a handle to the device memory that the boot argument `mmio=` grants; ZX_ERR_NOT_FOUND where there is none.
zx_status_t guest_mmio_resource(zx_handle_t* out);

// Loads the eight bytes at an address that may not be mapped. Returns whether that was possible.
bool guest_load(zx_vaddr_t address, uint64_t* value);

// Prints text and the end of the line.
int puts(const char* text);

// Prints `name = value` in hexadecimal digits, and the end of the line.
void put_value(const char* name, uint64_t value);

#endif
