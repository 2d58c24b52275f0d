// prepare: from a directory of sections (layout: legacy_st.h) to a store.
#pragma once

#include <stddef.h>

#include "../core/status.h"
#include "../core/strings.h"
#include "resample.h"

// Called often; `fraction` is that of the whole work, `what` a short phrase that lives for the call ("C5:
// picture"). Returning false stops the work: nothing is written and the result is STATUS_CANCELLED.
typedef bool PrepareProgress(void *context, const char *what, double fraction);

typedef struct PrepareOptions {
    const char *program; // name and version for the provenance
    size_t tile_size;    // pixels, 1 .. 4096
    double pitch;        // tile pixels per array step, > 0
    ResampleFilter filter;
    const char *const *sections; // [n_sections] only these; NULL: all there are
    size_t n_sections;
    const char *const
        *depths; // [n_depths] proportion files to take, e.g. "major"; NULL: every depth that all sections have
    size_t n_depths;
    bool ranks;                // add a table DEPTH_rank per depth
    size_t thumbnail_side;     // longest side of the thumbnail, pixels
    int deflate;               // of tiles, 0 .. 9
    PrepareProgress *progress; // may be NULL
    void *context;
} PrepareOptions;

// tile 78, pitch 26, bilinear, everything there is, ranks, thumbnail 1500, no deflate.
PrepareOptions prepare_defaults(void);

typedef struct PrepareReport {
    size_t n_sections, n_spots;
    size_t n_left_out;   // selected spots without counts
    size_t n_edge_tiles; // tiles that reach over the edge of the picture (filled by replication)
    Text notes;          // one line per thing worth telling, ends in '\n'; free with prepare_report_free
} PrepareReport;

void prepare_report_free(PrepareReport *report);

// Writes the store `path` (atomically). The report is filled on success.
MUST_USE Status prepare_legacy_st(const char *directory, const char *path, const PrepareOptions *options,
                                  PrepareReport *out_report);

// ranks[row][k] = 1 .. K within each row, smallest value first, ties by column order. Values must not be NaN.
void ordinal_ranks(const float *values, size_t n_rows, size_t n_columns, float *ranks);

// Copies the tile centred at (cx, cy) out of a picture, repeating edge pixels outside it: rows cy - S/2 .. cy
// - S/2 + S - 1 and columns likewise, into tile[S][S][3]. The centre may lie anywhere. True if the tile
// leaves the picture.
bool cut_tile(const Picture *picture, long long cx, long long cy, size_t side, uint8_t *tile);
