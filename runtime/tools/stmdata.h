// stmdata: what the commands of the tool share. Each command reads its part of the command line, works, and returns a
// Status; main turns that into the exit status.
#pragma once

#include <stddef.h>

#include "../core/status.h"
#include "../data/annotated.h"
#include "../data/hvg.h"
#include "sheet.h"

typedef struct Arguments {
    const char *words[8]; // what is not a flag
    int n_words;
    bool json, help, dense, log;
    const char *out, *level, *flavor, *n, *genome, *section, *layer, *radius; // NULL: not given
    const char *gene, *column, *palette, *image;
} Arguments;

// inspect: what a file or directory is and what is in it.
MUST_USE Status command_inspect(const Arguments *arguments);
// region: a rectangle of a picture as PNG.
MUST_USE Status command_region(const Arguments *arguments);
// hvg: highly variable genes as CSV.
MUST_USE Status command_hvg(const Arguments *arguments);
// convert: counts to .h5ad or .csv.
MUST_USE Status command_convert(const Arguments *arguments);
// export: the directory that DiSCoTME trains on.
MUST_USE Status command_export(const Arguments *arguments);
// map: a gene or a column of obs over the tissue, as PNG.
MUST_USE Status command_map(const Arguments *arguments);
// check: every promise of a store.
MUST_USE Status command_check(const Arguments *arguments);
// What can be told to be wrong from the command line alone.
MUST_USE Status check_region(const Arguments *arguments);
MUST_USE Status check_hvg(const Arguments *arguments);
MUST_USE Status check_convert(const Arguments *arguments);
MUST_USE Status check_export(const Arguments *arguments);
MUST_USE Status check_map(const Arguments *arguments);
MUST_USE Status whole_number(const char *what, const char *text, int64_t low, int64_t high, int64_t *out_value);
MUST_USE Status hvg_options(const Arguments *arguments, HvgOptions *out_options); // --flavor and --n

// ---- What inspect finds -------------------------------------------------------------------------

typedef enum FileLook {
    LOOK_OTHER, // not known by its first bytes: text or something else
    LOOK_HDF5,
    LOOK_PICTURE,
    LOOK_SAFETENSORS,
    LOOK_ZIP,
    LOOK_PICKLE,
    LOOK_NPY,
    LOOK_PARQUET,
    LOOK_EMPTY,
} FileLook;
MUST_USE Status look_at(const char *path, FileLook *out_look);

typedef enum Hdf5Look { HDF5_COUNTS, HDF5_STORE, HDF5_PATCHES } Hdf5Look;
enum { MOST_GENOMES = 16, GENOME_NAME = 64 };
typedef struct Hdf5Content {
    Hdf5Look look;
    size_t n_genomes; // groups of 10x HDF5 v2
    char genome[MOST_GENOMES][GENOME_NAME];
} Hdf5Content;
// In a guarded child: the file may be damaged.
MUST_USE Status hdf5_look(const char *path, Hdf5Content *out_content);

MUST_USE Status inspect_counts(const Arguments *arguments, const char *path, Sheet *sheet);
MUST_USE Status inspect_hdf5(const Arguments *arguments, const char *path, Sheet *sheet);
MUST_USE Status inspect_directory(const Arguments *arguments, const char *path, Sheet *sheet);
MUST_USE Status inspect_picture(const char *path, Sheet *sheet);
MUST_USE Status inspect_weights(const char *path, Sheet *sheet);
MUST_USE Status inspect_store(const char *path, Sheet *sheet);
// A part of a 10x matrix directory, told by its first line.
typedef enum MexPart { MEX_NONE, MEX_BARCODES, MEX_FEATURES, MEX_MATRIX } MexPart;
MexPart mex_part(const char *first_line);
MUST_USE Status inspect_mex_part(const char *path, MexPart part, Sheet *sheet);
MUST_USE Status inspect_text(const Arguments *arguments, const char *path, Sheet *sheet);
