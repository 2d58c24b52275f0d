// source_inside: what the layouts of source.h share. Internal to runtime/data.
//
// A layout is its functions: `open` finds the sections and fills source->section and inside->item (after source_items),
// `read` fills a Section whose name is set and appends the tables asked for, in that order, all of them from the file
// itself (tables beside the source are added by source.c), `tables` names those; NULL: there are none.
#pragma once

#include "annotated.h"
#include "counts.h"
#include "source.h"

typedef struct SourceItem {
    char *path;            // file or directory the section is read from
    char *library;         // h5ad: of several in uns["spatial"], with
    char *library_column;  //     the column of obs that names them; NULL: the file is one section
    char *picture, *group; // hest: slide, patient; NULL: none
    char *no_picture;      // why there is none
    double microns;        // hest: per pixel; 0: unknown
} SourceItem;

typedef struct SourceInside {
    SourceItem *item;  // [count]
    char *folder;      // of files with per-spot tables
    char *extra_input; // hest: the metadata table; NULL: none
} SourceInside;

typedef struct SourceMethods {
    Status (*open)(Source *source);
    Status (*read)(const Source *source, const SourceItem *item, char *const *tables, size_t n_tables,
                   Section *section);
    Status (*tables)(const Source *source, const SourceItem *item, Arena *arena, char ***out_names, size_t *out_count);
} SourceMethods;

extern const SourceMethods source_legacy_st, source_visium, source_hest, source_h5ad, source_elucidata;

// Room for `count` sections.
MUST_USE Status source_items(Source *source, size_t count);
// The error for a table that the section does not have: what was looked for and which there are.
MUST_USE Status source_no_table(const Source *source, const SourceItem *item, const char *name);
// Whether a directory is one of Space Ranger, or holds one as "outs"; *out_home is where the matrix and spatial/ stand,
// NULL: it is none.
MUST_USE Status source_visium_home(const char *directory, Arena *arena, char **out_home);

// ---- Filling a section (source_fill.c) ----------------------------------------------------------------------------
// Room for `count` spots: ids, places and empty counts (n_genes 0). Places on the array are unknown until they are set.
MUST_USE Status source_spots(Section *section, size_t count);
// The rows `pick` [section->n_spots] of a matrix as counts. Numbers that are not whole or negative are STATUS_MISMATCH,
// with the first place.
MUST_USE Status source_counts(const char *path, const char *what, const Matrix *matrix, const size_t *pick,
                              Section *section);
// Columns of obs that hold numbers become spot_values.
MUST_USE Status source_spot_values(const Frame *obs, const size_t *pick, Section *section);
// Notes of a reader, and the number of repeated gene names as one.
MUST_USE Status source_notes(const Annotated *annotated, Section *section);
// The size of a pixel, where the spots stand on the array of Visium (hexagonal, 100 um apart); nothing is changed if
// they do not.
MUST_USE Status source_visium_microns(Section *section);
// A table from an embedding: rows `pick`.
MUST_USE Status source_embedding(const char *path, const Embedding *embedding, const size_t *pick, Section *section,
                                 SpotTable *out_table);

// An AnnData file (source_h5ad.c); a picture at item->picture wins over those of uns.
MUST_USE Status source_read_h5ad(const Source *source, const SourceItem *item, char *const *tables, size_t n_tables,
                                 Section *section);
MUST_USE Status source_h5ad_tables(const Source *source, const SourceItem *item, Arena *arena, char ***out_names,
                                   size_t *out_count);
