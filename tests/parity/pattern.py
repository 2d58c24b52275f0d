"""The deterministic pattern that stands for random numbers in the parity references.

Both sides produce the same weights and inputs without sharing a generator or a file. `pattern.h` is the same
in C. All steps are exact in IEEE arithmetic (integers, one correctly rounded square root, one product, one
sum, one rounding to f32), so the two agree to the last bit. Every value is representable in f32, so that the
f32 and the f64 runs start from equal numbers.

    key(name)   = FNV-1a, 64 bit, of the UTF-8 bytes of the name
    bits(k, i)  = splitmix64 finaliser of  k + (i + 1) * 0x9E3779B97F4A7C15     (mod 2^64), i = linear index
    unit(k, i)  = (bits >> 40) * 2^-23 - 1       in [-1, 1), 24 bits
"""

import numpy as np


def key(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def bits(name, count, first=0):
    """u64[count]: the raw pattern of elements first .. first+count-1 of the tensor called `name`."""
    with np.errstate(over="ignore"):
        i = np.arange(first + 1, first + count + 1, dtype=np.uint64)
        z = np.uint64(key(name)) + i * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def unit(name, shape):
    """f64[shape] in [-1, 1), each value exactly representable in f32; row-major linear index."""
    count = int(np.prod(shape, dtype=np.int64))
    return ((bits(name, count) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0).reshape(shape)


def scaled(name, shape, scale, offset=0.0):
    """f64[shape]: (double)(float)(offset + scale * unit)."""
    return (offset + scale * unit(name, shape)).astype(np.float32).astype(np.float64)


def parameter(name, shape):
    """The initial value of an entry of a state_dict, by the last part of its name and its rank.

    rank >= 2                      sqrt(6 / fan_in) * unit,  fan_in = product of all extents but the first
    rank 1  .weight                1 + 0.25 * unit           (batch-norm gain)
    rank 1  .bias                  0.1 * unit
    rank 1  .running_mean          0.1 * unit
    rank 1  .running_var           1 + 0.5 * unit
    rank 0  .num_batches_tracked   0
    Each value is rounded to f32 once, after the product and the sum were computed in f64.
    """
    if len(shape) == 0:
        return np.zeros(shape)
    last = name.rsplit(".", 1)[-1]
    if len(shape) >= 2:
        fan_in = float(np.prod(shape[1:], dtype=np.int64))
        return scaled(name, shape, float(np.sqrt(6.0 / fan_in)))
    scale, offset = {
        "weight": (0.25, 1.0),
        "bias": (0.1, 0.0),
        "running_mean": (0.1, 0.0),
        "running_var": (0.5, 1.0),
    }[last]
    return scaled(name, shape, scale, offset)
