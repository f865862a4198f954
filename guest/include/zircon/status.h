#ifndef ZIRCON_STATUS_H_
#define ZIRCON_STATUS_H_

#include <zircon/types.h>

#ifdef __cplusplus
extern "C" {
#endif

// Returns the name of a status, such as "ZX_ERR_BAD_STATE", or "(UNKNOWN)".
const char* zx_status_get_string(zx_status_t status);

#ifdef __cplusplus
}
#endif

#endif
