// store_inside: what the files of the store share. Internal to runtime/data.
#pragma once

#include "../core/files.h"
#include "../core/strings.h"
#include "h5.h"
#include "store.h"

struct StoreWriter {
    Arena arena;
    AtomicFile file;
    const char *name; // the target, for messages
    StoreParameters parameters;
    H5Output output;
    int lock; // of a store that is being added to; -1: none
    hid_t sections, columns;
    char **section_names;
    size_t n_sections, section_capacity;
    StoreTable *tables; // as the first section defined them
    size_t n_tables;
    char **genes;
    size_t n_genes, gene_capacity;
    NameIndex gene_index;
    // Names and widths that the first section defined.
    char **graphs;
    StoreWidth *features;
    StoreParts *splits;
    size_t n_graphs, n_features, n_splits;
};

// Where the tiles of a section are in the file.
typedef struct TilePlaces {
    uint64_t at;     // offset of the first byte
    int64_t *start;  // [n_spots + 1] from there, for deflated and JPEG tiles; NULL: pixels
    uint32_t *check; // [n_spots] CRC-32 of the bytes in the file
} TilePlaces;

typedef struct SectionHandles {
    hid_t group, indices, data;
    hid_t tiles;       // versions 1 and 2, else -1
    TilePlaces places; // from version 3 on
    char *where;       // "PATH: section NAME", for messages
    int64_t *indptr;   // [n_spots + 1]
    float **tables;    // [n_tables], NULL until read; [n_spots][K]
    hid_t *features;   // [n_features], -1 until read
} SectionHandles;

struct Store {
    Arena arena;
    StoreInfo info;
    hid_t h5;
    int descriptor; // HDF5's
    uint64_t file_bytes;
    StoreSection *sections;
    StoreTable *tables;
    SectionHandles *handles; // [n_sections]
};

// Copies the texts, so that the caller's may go.
MUST_USE Status store_keep_parameters(StoreWriter *writer, const StoreParameters *parameters);

// The store's number of a gene, new or known.
MUST_USE Status store_gene_number(StoreWriter *writer, const char *name, int32_t *out_number);

// store_read.c
MUST_USE Status store_check_spot(const Store *store, SpotRef spot); // that it is there
// That no name of the list `what` occurs twice.
MUST_USE Status store_names_differ(const char *path, const char *what, char *const *names, size_t count);

// store_pack.c: writing tiles. "plain", "deflate LEVEL" or "jpeg QUALITY SAMPLING" says how they are kept.
enum { STORE_MOST_TILE = 4096, ENCODING_TEXT = 32 };
MUST_USE Status tiles_check_parameters(const StoreParameters *parameters);
void tiles_encoding(const StoreParameters *parameters, char text[ENCODING_TEXT]);
bool tiles_parse_encoding(const char *text, StoreParameters *out_parameters); // only jpeg, deflate and sampling
MUST_USE Status tiles_write(StoreWriter *writer, hid_t group, const Section *section, const StoreSectionExtra *extra);

// store_tiles.c: reading them.
MUST_USE Status tiles_open_file(Store *store); // after store->h5
MUST_USE Status tiles_open(Store *store, const char *where, const StoreSection *section, SectionHandles *handles);

// store_extra.c: neighbours, features and splits.
MUST_USE Status extra_define(StoreWriter *writer, const StoreSectionExtra *extra); // by the first section
MUST_USE Status extra_write(StoreWriter *writer, hid_t group, const Section *section, const StoreSectionExtra *extra);
MUST_USE Status extra_finish(StoreWriter *writer); // their names, at the root
MUST_USE Status extra_open(Store *store);          // after the sections
void extra_close(Store *store);
MUST_USE Status extra_check(Store *store, size_t section);
