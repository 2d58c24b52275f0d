// border: which pixel stands for one that lies outside a row or column. Used by filters, morphology and crops.
#pragma once

#include <stddef.h>
#include <stdint.h>

// The row a b c d continues to the left as:
typedef enum Border {
    BORDER_IGNORE,      // nothing is there: it takes no part (in sums: counts as 0)
    BORDER_REPLICATE,   // a a a | a b c d     numpy "edge", scipy "nearest"
    BORDER_REFLECT,     // c b a | a b c d     numpy "symmetric", scipy "reflect"
    BORDER_REFLECT_101, // d c b | a b c d     numpy "reflect", scipy "mirror", OpenCV's default
} Border;

#define BORDER_OUTSIDE PTRDIFF_MAX

// The position in 0 .. length-1 that stands for `position`, any distance away; BORDER_OUTSIDE for BORDER_IGNORE.
// `length` >= 1.
static inline ptrdiff_t border_position(ptrdiff_t position, ptrdiff_t length, Border border) {
    if (position >= 0 && position < length) return position;
    if (border == BORDER_IGNORE) return BORDER_OUTSIDE;
    if (border == BORDER_REPLICATE) return position < 0 ? 0 : length - 1;
    ptrdiff_t period = border == BORDER_REFLECT ? 2 * length : 2 * length - 2;
    if (period == 0) return 0; // one pixel
    position %= period;
    if (position < 0) position += period;
    if (position < length) return position;
    return border == BORDER_REFLECT ? period - 1 - position : period - position;
}
