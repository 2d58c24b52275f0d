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

typedef struct SectionHandles {
    hid_t group, tiles, indices, data;
    char *where;     // "PATH: section NAME", for messages
    int64_t *indptr; // [n_spots + 1]
    float **tables;  // [n_tables], NULL until read; [n_spots][K]
    hid_t *features; // [n_features], -1 until read
} SectionHandles;

struct Store {
    Arena arena;
    StoreInfo info;
    hid_t h5;
    StoreSection *sections;
    StoreTable *tables;
    SectionHandles *handles; // [n_sections]
};

// The store's number of a gene, new or known.
MUST_USE Status store_gene_number(StoreWriter *writer, const char *name, int32_t *out_number);

// store_extra.c: neighbours, features and splits.
MUST_USE Status extra_define(StoreWriter *writer, const StoreSectionExtra *extra); // by the first section
MUST_USE Status extra_write(StoreWriter *writer, hid_t group, const Section *section, const StoreSectionExtra *extra);
MUST_USE Status extra_finish(StoreWriter *writer); // their names, at the root
MUST_USE Status extra_open(Store *store);          // after the sections
void extra_close(Store *store);
MUST_USE Status extra_check(Store *store, size_t section);
