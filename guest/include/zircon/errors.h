// The statuses that calls return: 0 for success, a negative number for each kind of error. Of several errors a call tells the one
// whose check comes first, in Zircon's order.

#ifndef ZIRCON_ERRORS_H_
#define ZIRCON_ERRORS_H_

#define ZX_OK (0)

// Internal to kernels; no call of Stagecraft returns it.
#define ZX_ERR_INTERNAL (-1)
// The object, the option or the call does not do this.
#define ZX_ERR_NOT_SUPPORTED (-2)
// There is no room for it, in an address space that has more.
#define ZX_ERR_NO_RESOURCES (-3)
// Memory has run out: the machine's, or what the VM may hold.
#define ZX_ERR_NO_MEMORY (-4)

// Something is wrong with an argument, whatever the state of things.
#define ZX_ERR_INVALID_ARGS (-10)
#define ZX_ERR_BAD_HANDLE (-11)
// A handle to an object of another type.
#define ZX_ERR_WRONG_TYPE (-12)
#define ZX_ERR_BAD_SYSCALL (-13)
#define ZX_ERR_OUT_OF_RANGE (-14)
#define ZX_ERR_BUFFER_TOO_SMALL (-15)

// Something is wrong with the state that an object is in.
#define ZX_ERR_BAD_STATE (-20)
#define ZX_ERR_TIMED_OUT (-21)
#define ZX_ERR_SHOULD_WAIT (-22)
#define ZX_ERR_CANCELED (-23)
#define ZX_ERR_PEER_CLOSED (-24)
#define ZX_ERR_NOT_FOUND (-25)
#define ZX_ERR_ALREADY_EXISTS (-26)
#define ZX_ERR_ALREADY_BOUND (-27)
#define ZX_ERR_UNAVAILABLE (-28)

// A right is missing.
#define ZX_ERR_ACCESS_DENIED (-30)

#define ZX_ERR_IO (-40)
#define ZX_ERR_IO_REFUSED (-41)
#define ZX_ERR_IO_DATA_INTEGRITY (-42)
#define ZX_ERR_IO_DATA_LOSS (-43)
#define ZX_ERR_IO_NOT_PRESENT (-44)
#define ZX_ERR_NO_SPACE (-54)

#endif
