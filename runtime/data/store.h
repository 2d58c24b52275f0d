// store: the one file that training and prediction read (spec/store.md defines its layout).
//
// Writing: store_create, store_add_section for each section, store_finish (or store_abandon). Reading:
// store_open, then rows by SpotRef into the caller's buffers. A Store or StoreWriter is for one thread at a
// time, and so is HDF5 below it, with one exception: store_read_tiles (see there).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/pool.h"
#include "../core/status.h"
#include "image.h"
#include "jpeg_write.h"
#include "section.h"

// 2 added neighbours, features, splits and provenance; stores of version 1 are read as having none. 3 keeps tiles where
// they can be read without HDF5, as pixels, deflated or as JPEG, and knows sections without pictures or counts.
enum { STORE_FORMAT_VERSION = 3, STORE_OLDEST_VERSION = 1 };

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
    size_t tile_size;       // S; 0: the store has no tiles
    double tile_pitch;      // tile pixels per array step; 0: tiles were not cut by the array
    const char *filter;     // how pictures were scaled: "bilinear", "box", "bicubic", ...; "none" without tiles
    const char *edge;       // "replicate", "fill R G B", or "none" without tiles
    int deflate;            // 0 .. 9 for tiles; 0 reads fastest, H&E shrinks by about a third at 1
    const char *provenance; // JSON object: every parameter that made the store; NULL: "{}"
    int jpeg;               // 1 .. 100: tiles are kept as JPEG of this quality (deflate must be 0); 0: as they are
    JpegSampling sampling;  // of the colours of JPEG tiles; zeroed: 4:2:0
    Pool *pool;             // for packing tiles; NULL: the caller's thread alone. Must outlive the writer
} StoreParameters;

// What store_add_section needs besides the Section. From the Section itself come, beyond spots, counts and tables:
// group, spot_diameter, microns_per_pixel and picture_scale. A section may lack counts (indptr NULL: nothing was
// measured) and a picture (image_width 0: no thumbnail; only in a store without tiles).
typedef struct StoreSectionExtra {
    size_t image_width, image_height; // of the picture at full resolution, pixels; see StoreSection
    double scale_x, scale_y;          // tile pixels per full-resolution pixel; 0 without tiles
    double pitch_x, pitch_y;          // full-resolution pixels per array step; 0: unknown
    const Picture *thumbnail;         // NULL: none
    const char *inputs;               // JSON, see the specification
    const char *left_out;             // JSON
    const StoreGraph *graphs;         // [n_graphs]
    size_t n_graphs;
    const StoreFeatures *features; // [n_features]
    size_t n_features;
    const StoreSplit *splits; // [n_splits]
    size_t n_splits;
    // Fills tiles[count][S][S][3] for spots first .. first + count - 1; called in order, on the caller's thread, never
    // from inside a task of the pool. NULL in a store without tiles.
    Status (*tiles)(void *context, size_t first, size_t count, uint8_t *tiles);
    void *context;
} StoreSectionExtra;

typedef struct StoreWriter StoreWriter;

MUST_USE Status store_create(const char *path, const StoreParameters *parameters, StoreWriter **out_writer);
// Opens a finished store of this version to add sections to it. The work is done on a copy that store_finish puts in
// the old file's place: readers see the store as it was or with all new sections. One process at a time; a second is
// refused. Tiles are cut, scaled and kept as those that are there (store_parameters); `deflate` is the level where
// they are deflated and must be 0 otherwise, or be -1: the level that the store was made with.
MUST_USE Status store_append(const char *path, int deflate, StoreWriter **out_writer);
// How the store is made; after store_append, how it was made. provenance is that of the store; pool may be set.
StoreParameters *store_parameters(StoreWriter *writer);
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
    // "Full-resolution pixels" are the units of `pixel`, also where a smaller copy of the picture was cut into tiles.
    const double *pixel;                         // [n_spots][2] x, y in full-resolution pixels
    size_t image_width, image_height;            // full-resolution pixels; 0: the section has no picture
    double scale_x, scale_y;                     // tile pixels per full-resolution pixel; 0 without tiles
    double pitch_x, pitch_y;                     // full-resolution pixels per array step; 0: unknown
    double thumbnail_scale_x, thumbnail_scale_y; // thumbnail pixels per full-resolution pixel; 0: no thumbnail
    size_t nnz;
    const char *inputs, *left_out; // JSON
    const char *group;             // patient or donor; NULL: unknown
    double spot_diameter;          // full-resolution pixels; 0: unknown
    double microns_per_pixel;      // microns per full-resolution pixel; 0: unknown
    double picture_scale;          // pixels of the picture that was cut per full-resolution pixel; 1 unless smaller
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
    size_t tile_size;  // 0: no tiles
    double tile_pitch; // 0: not cut by the array
    const char *filter, *edge;
    int jpeg, deflate;     // how tiles are kept, as in StoreParameters; deflate -1: by some level, in versions 1 and 2
    JpegSampling sampling; // of JPEG tiles
    const char *encoding;  // the same as a text: "plain", "deflate 1", "jpeg 90 4:2:0"; "chunks" in versions 1 and 2
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

// Checks that the store fits a model: STATUS_MISMATCH says what differs, or that there are no tiles. tile_size 0 (any)
// or columns NULL: not compared.
MUST_USE Status store_require_tiles(const Store *store, size_t tile_size);
MUST_USE Status store_require_table(const Store *store, const char *name, size_t n_columns, const char *const *columns,
                                    size_t *out_table);

// tiles[count][S][S][3]; every tile's checksum is compared. Where store_tiles_shared is true, this uses no HDF5 and may
// be called by several threads at once, also while one thread reads something else of the store.
MUST_USE Status store_read_tiles(Store *store, const SpotRef *spots, size_t count, uint8_t *tiles);
// Asks the system to fetch these tiles from disk ahead of store_read_tiles; may do nothing. Threads as there.
void store_expect_tiles(const Store *store, const SpotRef *spots, size_t count);
bool store_tiles_shared(const Store *store); // true from version 3 on
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
// STATUS_NOT_FOUND if the section has none.
MUST_USE Status store_read_thumbnail(Store *store, size_t section, Picture *out_picture);

// Reads every tile, count and table value once and checks what the specification promises of them.
MUST_USE Status store_check(Store *store);
