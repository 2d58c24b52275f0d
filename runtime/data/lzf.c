// lzf: see lzf.h. The format: a control byte below 32 begins a run of that many + 1 plain bytes; any other begins a
// copy of (its upper three bits, 7 meaning "and the next byte more") + 2 bytes from (lower five bits and a further
// byte) + 1 bytes back.
#include "lzf.h"

#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

bool lzf_expand(const void *in, size_t in_size, void *out, size_t out_size, size_t *out_written) {
    const unsigned char *from = in, *end = from + in_size;
    unsigned char *to = out, *begin = out, *limit = begin + out_size;
    *out_written = 0;
    while (from < end) {
        size_t control = *from++;
        if (control < 32) {
            size_t run = control + 1;
            if (run > (size_t)(end - from) || run > (size_t)(limit - to)) return false;
            memcpy(to, from, run);
            from += run;
            to += run;
            continue;
        }
        size_t length = control >> 5;
        if (length == 7) {
            if (from == end) return false;
            length += *from++;
        }
        length += 2;
        if (from == end) return false;
        size_t back = ((control & 31) << 8 | *from++) + 1;
        if (back > (size_t)(to - begin) || length > (size_t)(limit - to)) return false;
        if (back >= length) {
            memcpy(to, to - back, length);
            to += length;
        } else {
            for (; length > 0; length--, to++) *to = to[-(ptrdiff_t)back]; // overlapping: a pattern that repeats
        }
    }
    *out_written = (size_t)(to - begin);
    return true;
}

// HDF5 calls it with the chunk in *buffer, which it owns and which may be replaced. The third parameter of the filter
// is the size of a whole chunk; a file of unknown origin may lie, so the room grows up to 64 MB for a small lie.
static size_t lzf_filter(unsigned flags, size_t n_parameters, const unsigned parameters[], size_t bytes,
                         size_t *buffer_size, void **buffer) {
    if (!(flags & H5Z_FLAG_REVERSE)) return 0; // not for writing
    size_t room = n_parameters >= 3 && parameters[2] ? parameters[2] : *buffer_size;
    for (; room > 0 && room <= (size_t)1 << 31; room *= 2) {
        size_t written = 0;
        void *out = malloc(room);
        if (!out) return 0;
        if (lzf_expand(*buffer, bytes, out, room, &written)) {
            free(*buffer);
            *buffer = out;
            *buffer_size = room;
            return written;
        }
        free(out);
        if (room > (size_t)32 << 20) return 0;
    }
    return 0;
}

Status lzf_register(void) {
    static const H5Z_class2_t lzf = {H5Z_CLASS_T_VERS, LZF_FILTER, 0, 1, "lzf", NULL, NULL, lzf_filter};
    if (H5Zfilter_avail(LZF_FILTER) > 0) return STATUS_OK;
    if (H5Zregister(&lzf) < 0) return status_make(STATUS_INTERNAL, "HDF5 refuses the LZF filter");
    return STATUS_OK;
}
