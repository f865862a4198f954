// The handles that a program begins with. They are the program's to use, and not to close.

#ifndef ZIRCON_PROCESS_H_
#define ZIRCON_PROCESS_H_

#include <zircon/types.h>

#ifdef __cplusplus
extern "C" {
#endif

// The VMAR that covers the VM's whole IPA space.
zx_handle_t zx_vmar_root_self(void);

// The VM itself.
zx_handle_t zx_process_self(void);

#ifdef __cplusplus
}
#endif

#endif
