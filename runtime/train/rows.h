// rows: the rows (spots) of one or more stores, one after another, as batches for a plan's inputs.
//
// Datasets are named as the spec's prepare block names them (recipe.h): tiles are u8[S, S, 3] per row, counts
// f32[genes], tables f32[columns], features f32[width]. Stores that are read together must agree in tile size,
// genes, table columns and widths. Threads: one thread at a time may read (HDF5 has no lock of its own here), except
// for what rows_shared says.
#pragma once

#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"
#include "../core/strings.h"
#include "session.h"

typedef struct Rows Rows;

// A section's place in the joined row order.
typedef struct RowSection {
    const char *name;
    const char *path; // of its store
    int64_t first, count;
} RowSection;

// Opens all stores (paths[count]). The same section name twice is an error.
MUST_USE Status rows_open(const char *const *paths, int count, Rows **out_rows);
void rows_close(Rows *rows); // NULL is allowed

int64_t rows_count(const Rows *rows);
int rows_sections(const Rows *rows);
const RowSection *rows_section(const Rows *rows, int index);
// Positions of sections by name; an unknown name is an error that lists the known ones.
MUST_USE Status rows_find_section(const Rows *rows, const char *name, int *out_index);

// Row numbers of the sections marked in use[rows_sections] (NULL: all), ascending, into a block that the
// caller frees.
MUST_USE Status rows_select(const Rows *rows, const bool *use, int64_t **out_numbers, int64_t *out_count);

// The same of one part of a split, such as "validation" of "by_patient", within the sections marked. Every store must
// have it; the error for an unknown one lists those there are, with their numbers of rows.
MUST_USE Status rows_select_part(Rows *rows, const bool *use, const char *split, const char *part,
                                 int64_t **out_numbers, int64_t *out_count);
// Appends the splits of the first store that has any, with the numbers of rows of their parts; nothing if none has.
MUST_USE Status rows_splits(Rows *rows, Text *out_text);

// What one input tensor reads.
typedef struct RowFeed {
    int tensor;  // program tensor
    int dataset; // handle of rows_read
    int64_t row_bytes;
} RowFeed;

// Checks an INPUT tensor against its dataset: existence, element type and every dimension after the first at
// `extent`. Errors name the store and both shapes.
MUST_USE Status rows_bind(Rows *rows, const Session *session, int tensor, const int64_t *extent, RowFeed *out_feed);

// Reads rows number[0 .. count) of a feed into `to` (count * row_bytes).
MUST_USE Status rows_read(Rows *rows, const RowFeed *feed, const int64_t *number, int64_t count, void *to);

// True if several threads may read this feed at once, also while one thread reads others: tiles.
bool rows_shared(const Rows *rows, const RowFeed *feed);
// Says that these rows will be read soon, so that the system may fetch them from disk meanwhile. For shared feeds;
// threads as for reading them.
void rows_expect(const Rows *rows, const RowFeed *feed, const int64_t *number, int64_t count);

// Names for an axis: those of the first f32[row, axis] input dataset declared with it; NULL if none has
// names.
MUST_USE Status rows_axis_labels(Rows *rows, const Session *session, int axis, const char *const **out_labels,
                                 int64_t *out_count);

// Where a row comes from.
typedef struct RowPlace {
    int section;      // of rows_section
    const char *id;   // of the spot
    double pixel[2];  // centre x, y in pixels of the original picture
    int32_t array[2]; // column, row
} RowPlace;
RowPlace rows_place(const Rows *rows, int64_t number);

// The store of a section and the section's position in it, for outputs that need its thumbnail.
struct Store;
void rows_store(const Rows *rows, int section, struct Store **out_store, size_t *out_number);
