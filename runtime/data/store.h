// store: the one file that training and prediction read (spec/store.md defines its layout).
//
// Writing: store_create, store_add_section for each section, store_finish (or store_abandon). Reading:
// store_open, then rows by SpotRef into the caller's buffers. A Store or StoreWriter is for one thread at a
// time.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "image.h"
#include "section.h"

// 2 added neighbours, features, splits and provenance; stores of version 1 are read as having none.
enum { STORE_FORMAT_VERSION = 2, STORE_OLDEST_VERSION = 1 };

// ---- What a section may bring besides its spots (optional, but the same names in every section) ----

// Who is near whom: the neighbours of spot i are neighbour[start[i] .. start[i + 1]], rows of the same section.
typedef struct StoreGraph {
    const char *name;         // "knn6"
    const int64_t *start;     // [n_spots + 1]
    const int32_t *neighbour; // [start[n_spots]]
    const float *weight;      // [start[n_spots]] finite, or NULL
} StoreGraph;

// Numbers computed for every spot, such as the output of an encoder. Read row by row, unlike tables.
typedef struct StoreFeatures {
    const char *name;
    size_t width;
    const float *values; // [n_spots][width] finite
} StoreFeatures;

// Which part of a split ("train", "validation", ...) a spot belongs to.
typedef struct StoreSplit {
    const char *name;
    size_t n_parts;
    char *const *parts;  // [n_parts] the same in every section
    const int32_t *part; // [n_spots] position in parts, or -1: in none
} StoreSplit;

// ---- Writing ------------------------------------------------------------------------------------

typedef struct StoreParameters {
    const char *program;    // name and version of the writer
    size_t tile_size;       // S
    double tile_pitch;      // tile pixels per array step
    const char *filter;     // "bilinear" or "box"
    const char *edge;       // "replicate"
    int deflate;            // 0 .. 9 for tiles; 0 reads fastest, H&E shrinks by about a third at 1
    const char *provenance; // JSON object: every parameter that made the store; NULL: "{}"
} StoreParameters;

// What store_add_section needs besides the Section.
typedef struct StoreSectionExtra {
    size_t image_width, image_height;
    double scale_x, scale_y;
    double pitch_x, pitch_y;
    const Picture *thumbnail;
    const char *inputs;       // JSON, see the specification
    const char *left_out;     // JSON
    const StoreGraph *graphs; // [n_graphs]
    size_t n_graphs;
    const StoreFeatures *features; // [n_features]
    size_t n_features;
    const StoreSplit *splits; // [n_splits]
    size_t n_splits;
    // Fills tiles[count][S][S][3] for spots first .. first + count - 1; called in order.
    Status (*tiles)(void *context, size_t first, size_t count, uint8_t *tiles);
    void *context;
} StoreSectionExtra;

typedef struct StoreWriter StoreWriter;

MUST_USE Status store_create(const char *path, const StoreParameters *parameters, StoreWriter **out_writer);
// Opens a finished store of this version to add sections to it. The work is done on a copy that store_finish puts in
// the old file's place: readers see the store as it was or with all new sections. One process at a time; a second is
// refused.
MUST_USE Status store_append(const char *path, int deflate, StoreWriter **out_writer);
// All sections must bring tables of the same names with the same columns (in any order: they are joined by
// name).
MUST_USE Status store_add_section(StoreWriter *writer, const Section *section, const StoreSectionExtra *extra);
// Completes and renames the file. Ends the writer on success and on failure.
MUST_USE Status store_finish(StoreWriter *writer);
void store_abandon(StoreWriter *writer); // removes what was written; NULL is fine

// ---- Reading ------------------------------------------------------------------------------------

typedef struct StoreTable {
    const char *name;
    size_t n_columns;
    char *const *columns; // [n_columns]
} StoreTable;

typedef struct StoreSection {
    const char *name;
    size_t n_spots;
    char *const *ids;          // [n_spots]
    const int32_t *array;      // [n_spots][2] column, row
    const double *array_exact; // [n_spots][2]
    const double *pixel;       // [n_spots][2] x, y in original pixels
    size_t image_width, image_height;
    double scale_x, scale_y;                     // tile pixels per original pixel
    double pitch_x, pitch_y;                     // original pixels per array step
    double thumbnail_scale_x, thumbnail_scale_y; // thumbnail pixels per original pixel
    size_t nnz;
    const char *inputs, *left_out; // JSON
} StoreSection;

typedef struct StoreWidth { // features
    const char *name;
    size_t width;
} StoreWidth;

typedef struct StoreParts { // a split
    const char *name;
    size_t n_parts;
    char *const *parts; // [n_parts]
} StoreParts;

typedef struct StoreInfo {
    int version;
    const char *path;
    const char *program;
    size_t tile_size;
    double tile_pitch;
    const char *filter, *edge;
    size_t n_sections, n_tables, n_genes, n_spots; // n_spots over all sections
    const StoreSection *sections;                  // [n_sections]
    const StoreTable *tables;                      // [n_tables]
    char *const *genes;                            // [n_genes]
    size_t n_graphs, n_features, n_splits;
    char *const *graphs;        // [n_graphs] names
    const StoreWidth *features; // [n_features]
    const StoreParts *splits;   // [n_splits]
    const char *provenance;     // JSON; "{}" in version 1
} StoreInfo;

typedef struct Store Store;

// One spot: which section, which row in it.
typedef struct SpotRef {
    uint32_t section, row;
} SpotRef;

// Reads and checks everything but tiles, counts and table values. The path is remembered for messages.
MUST_USE Status store_open(const char *path, Store **out_store);
void store_close(Store *store); // NULL is fine
const StoreInfo *store_info(const Store *store);

// By name; the message for an unknown one lists those there are.
MUST_USE Status store_find_section(const Store *store, const char *name, size_t *out_section);
MUST_USE Status store_find_table(const Store *store, const char *name, size_t *out_table);

// Checks that the store fits a model: STATUS_MISMATCH says what differs. tile_size 0 or columns NULL: not
// compared.
MUST_USE Status store_require_tiles(const Store *store, size_t tile_size);
MUST_USE Status store_require_table(const Store *store, const char *name, size_t n_columns, const char *const *columns,
                                    size_t *out_table);

// tiles[count][S][S][3]
MUST_USE Status store_read_tiles(Store *store, const SpotRef *spots, size_t count, uint8_t *tiles);
// values[count][K]. A table is read whole per section at its first use and kept.
MUST_USE Status store_read_table(Store *store, size_t table, const SpotRef *spots, size_t count, float *values);
// values[count][n_genes], dense, 0 where nothing was counted. `genes` picks columns (positions in
// info->genes); NULL gives all, n_genes = info->n_genes.
MUST_USE Status store_read_counts(Store *store, const SpotRef *spots, size_t count, const int32_t *genes,
                                  size_t n_genes, float *values);
// The neighbours of all spots of a section; weight NULL if there are none. Memory from `arena`.
MUST_USE Status store_read_graph(Store *store, size_t section, const char *name, Arena *arena, StoreGraph *out_graph);
// values[count][width of the features]
MUST_USE Status store_read_features(Store *store, size_t features, const SpotRef *spots, size_t count, float *values);
// part[n_spots of the section]
MUST_USE Status store_read_split(Store *store, size_t section, size_t split, int32_t *part);
// measured[n_genes of the store]: 1 where the section has the gene, 0 where it is unknown.
MUST_USE Status store_read_measured(Store *store, size_t section, uint8_t *measured);
MUST_USE Status store_read_thumbnail(Store *store, size_t section, Picture *out_picture);

// Reads every tile, count and table value once and checks what the specification promises of them.
MUST_USE Status store_check(Store *store);
