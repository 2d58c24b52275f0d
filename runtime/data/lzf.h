// lzf: the LZF compression that h5py offers (HDF5 filter 32000), reading only.
#pragma once

#include <stddef.h>

#include "../core/status.h"

enum { LZF_FILTER = 32000 };

// Expands in[0 .. in_size) into out[0 .. out_size); *out_written is what came out. False if the data are damaged or
// need more room than `out_size`.
bool lzf_expand(const void *in, size_t in_size, void *out, size_t out_size, size_t *out_written);

// Makes HDF5 able to read datasets with this filter, unless it is already.
MUST_USE Status lzf_register(void);
