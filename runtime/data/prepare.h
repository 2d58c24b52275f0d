// prepare: from sections in any layout (source.h) to a store.
//
// What is made is given dataset by dataset, as the spec's prepare block does (spec/language.md §6). Two passes where
// genes are chosen or groups are split: the first reads the counts of every section, the second everything, one section
// at a time. Memory: one section with its tables, one picture by pitch or 64 MiB of tiles by radius; for choices that
// need variances (or a median after min_spots) also the counts of all sections, 8 bytes an entry; up to 512 MiB of what
// the first pass read, to save reading it again.
#pragma once

#include <stddef.h>

#include "../core/pool.h"
#include "../core/status.h"
#include "../core/strings.h"
#include "graph.h"
#include "normalise.h"
#include "resample.h"
#include "slide.h"
#include "source.h"

// Called often; `fraction` is that of the whole work, `what` a short phrase that lives for the call ("C5:
// picture"). Returning false stops the work: nothing is written and the result is STATUS_CANCELLED.
typedef bool PrepareProgress(void *context, const char *what, double fraction);

// ---- Tiles: S x S pixels around every spot ----------------------------------------------------------------------
// Either the whole picture is scaled once, so that neighbouring array positions lie `pitch` tile pixels apart, and
// tiles are cut from it (hevisum.md §3); or every tile is a square of 2 r original pixels, cut and then scaled to S
// (discotme.md §3.4, stem.md §3.1, HEST's patches). r is, by the one that is given,
//     radius              pixels
//     spots               of `spots` spot diameters: floor(spots * diameter / 2)
//     microns             of a square so many micrometres wide: microns / microns per pixel / 2, rounded
// and at least `least`. The corner is round(x - r), half to even; with `truncate` floor(x) - r (discotme.md §2.4).
// A picture that the source holds smaller than full resolution is cut at its own scale (r too, at least 1) and the note
// says so. The pitch of a section is the slope of pixels on array steps for legacy ST, else the mean distance to the
// nearest spot. By pitch the edge is replicated and the scaled picture has at most 2 GiB; a slide of more than 2^30
// pixels is scaled from the smallest copy in its file that has twice the detail wanted, which a note says. Spots
// outside of the picture are an error.
typedef struct PrepareTiles {
    size_t size;                          // S, 1 .. 4096
    double pitch, radius, spots, microns; // one of them > 0, the others 0
    double least;                         // of r, pixels
    bool truncate;
    ResampleFilter filter;
    SlideEdge edge; // SLIDE_EDGE_REPLICATE, or SLIDE_EDGE_FILL with `fill`: what stands outside of the picture
    uint8_t fill[3];
    int jpeg;    // quality of tiles stored as JPEG, 1 .. 100; 0: stored as pixels
    int deflate; // of tiles stored as pixels, 0 .. 9
} PrepareTiles;

// ---- Tables: a number per spot and column -----------------------------------------------------------------------
typedef enum PrepareGenes {
    GENES_ALL,       // that all sections have, in the order of the first
    GENES_LIST,      // of a file (vocabulary.h); a section without one of them gets zeros, counted in the notes
    GENES_TOP_MEAN,  // highest mean count of those that all sections have, best first
    GENES_TOP_TOTAL, // highest total over all sections (spatialtranscriptformer.md §2.6), best first; of any section's
                     // genes, zeros where a section has not got it, counted in the notes
    GENES_HVG_SEURAT,
    GENES_HVG_SEURAT_V3,      // both on the spots of all sections together, genes that all sections have; file order
    GENES_HIGH_MEAN_VARIANCE, // stem.md §3.3, sorted by name; `drop` is applied after choosing, as there
} PrepareGenes;

typedef enum PrepareLog { LOG_NONE, LOG_NATURAL /* ln(1 + x) */, LOG_TWO /* log2(x + 1) */ } PrepareLog;

// Counts as a model wants them. In this order: filter and drop genes, scale every spot to `total` over the genes left
// in its section (normalise.h), choose genes, take logarithms, keep the chosen. (seurat chooses on ln(1 + x) of counts
// scaled to `total`, or to 10,000 where none is given; seurat_v3 and the others on counts.) On one section all of it is
// what scanpy does. Fewer genes than `count` are a note, none an error. Adding to a store, the genes and the median are
// those of the store; min_spots with a total is refused then, since the store cannot tell which genes were left out.
typedef struct PrepareExpression {
    PrepareGenes genes;
    const char *list;  // GENES_LIST: file
    size_t count;      // how many; 0 for GENES_ALL, or all of a list
    int64_t min_spots; // genes counted in fewer spots (of all sections together) are left out
    MitoRule drop;
    double total; // 0: not scaled; < 0: the median of the spots of all sections that have counts
    double epsilon;
    PrepareLog log;
} PrepareExpression;

typedef struct PrepareTable {
    const char *name;                    // in the store
    const char *source;                  // a table of the source (source.h); NULL: expression
    const PrepareExpression *expression; // NULL: source
    bool ranks;                          // ranks 1 .. K within each spot (ordinal_ranks) instead of the values
} PrepareTable;

// ---- Neighbours, features, splits -------------------------------------------------------------------------------
typedef struct PrepareGraph {
    const char *name;
    NeighbourOptions near; // radius in original pixels; used when `lattice` is not
    double radius_pitch;   // > 0: the radius in spot pitches (neighbour_pitch) instead
    bool by_lattice;
    Lattice lattice;
    GraphOptions weights; // EDGE_ONE without further options stores no weights
} PrepareGraph;           // without weights the nearest first (a lattice: ascending), with weights ascending

typedef struct PrepareFeatures {
    const char *name;
    const char *pattern; // path relative to the source (a file's: to its directory) or absolute, "{section}" standing
                         // for the section's name; any file that weights.h reads
    const char *key;     // tensor in the file; NULL: "features", or the only one of rank 2
} PrepareFeatures; // rows: by "barcodes" where the file has them (every spot must be there), else as the spots of the
                   // source, those that `keep` leaves out included

typedef enum PrepareBy { BY_SPOT, BY_SECTION, BY_GROUP } PrepareBy;
typedef struct PrepareSplit {
    const char *name;
    PrepareBy by;            // BY_SPOT: every section on its own; BY_GROUP: sections without a patient are groups of
                             // their own
    double validation, test; // shares
    uint32_t seed;
    const char *list_train, *list_validation, *list_test; // BY_SECTION: files of names instead (cuca.md §2.4)
} PrepareSplit;                                           // parts "train", "validation", "test"

// ---- All of it --------------------------------------------------------------------------------------------------
typedef struct PrepareOptions {
    const char *program; // name and version for the provenance
    PrepareTiles tiles;
    bool no_tiles;               // the model reads features, not pictures; the store's tile size is 0
    const char *const *sections; // [n_sections] only these; NULL: all there are
    size_t n_sections;
    bool all_tables;            // every table that all sections have, with ranks, besides `tables`
    const PrepareTable *tables; // [n_tables]
    size_t n_tables;
    const PrepareGraph *graphs; // [n_graphs]
    size_t n_graphs;
    const PrepareFeatures *features; // [n_features]
    size_t n_features;
    const PrepareSplit *splits; // [n_splits]
    size_t n_splits;
    SpotFilter keep;           // spots that fail are left out, counted in the notes
    size_t thumbnail_side;     // longest side of the thumbnail, pixels
    bool append;               // to a store that is there: sections it has already are refused, and so are
                               // other parameters than those it was made with
    Pool *pool;                // for cutting and packing tiles; NULL: the caller alone
    PrepareProgress *progress; // may be NULL
    void *context;
} PrepareOptions;

// tile 78, pitch 26, bilinear, replicate, everything there is, thumbnail 1500.
PrepareOptions prepare_defaults(void);

typedef struct PrepareReport {
    size_t n_sections, n_spots;
    size_t n_left_out;   // selected spots without counts
    size_t n_filtered;   // spots that `keep` left out
    size_t n_edge_tiles; // tiles that reach over the edge of the picture
    Text notes;          // one line per thing worth telling, ends in '\n'; free with prepare_report_free
} PrepareReport;

void prepare_report_free(PrepareReport *report);

// Writes the store `path` (atomically: it is there whole or not at all). The report is filled on success. Splits by
// section or group need all sections at once and are refused with `append`, unless lists of names give them.
MUST_USE Status prepare_store(const Source *source, const char *path, const PrepareOptions *options,
                              PrepareReport *out_report);

// ranks[row][k] = 1 .. K within each row, smallest value first, ties by column order. Values must not be NaN.
void ordinal_ranks(const float *values, size_t n_rows, size_t n_columns, float *ranks);

// Copies the tile centred at (cx, cy) out of a picture, repeating edge pixels outside it: rows cy - S/2 .. cy
// - S/2 + S - 1 and columns likewise, into tile[S][S][3]. The centre may lie anywhere. True if the tile
// leaves the picture.
bool cut_tile(const Picture *picture, long long cx, long long cy, size_t side, uint8_t *tile);
