// source: where sections come from. A directory or file in any layout that the data room reads, as a list of sections
// that are read one at a time into the form that prepare.h turns into a store.
//
//     layout      what `path` is                                             sections
//     legacy_st   a tree with counts/ spots/ images/ (legacy_st.h)           one per file in counts/
//     visium      a Space Ranger directory (matrix and spatial/), or a       the directory itself, named after it, or
//                 directory of such directories                              one per directory, byte order
//     hest        a HEST-1k tree (hest.h): st/ID.h5ad, wsis/, patches/       one per sample of the table that has files
//     h5ad        an AnnData file, or a directory of them                    one per file, named after it; a file with
//                                                                            several libraries in uns["spatial"] and a
//                                                                            column of obs that names them: one each,
//                                                                            LIBRARY, in a directory FILE_LIBRARY
//     elucidata   the compound-table HDF5 file (compound.h)                  one per slide with spots and an image
//
// A Space Ranger directory may stand in one of another name as "outs"; the section is then named after the outer one.
// By content a directory is looked at in this order: legacy_st, hest, visium itself, h5ad, visium one level below.
//
// Pictures, first found: legacy_st: images/SECTION.*; visium: `image`, DIR/NAME.tif, DIR/NAME.tiff, the first of DIR/
// *.tif, *.tiff, *.svs (byte order), then spatial/tissue_hires_image.png and tissue_lowres_image.png with their scale
// factor and a note; hest: wsis/ID.tif or .svs; h5ad: `image`, else hires, else lowres of uns; elucidata: the image, as
// bytes. Where there is none, section->no_picture says what was looked for. The picture is not compared with the
// positions here.
//
// Spots stand in the order of the counts (of obs, of the slide's table). Left out and counted: positions not in tissue
// (n_not_selected), in tissue without counts (n_without_counts, by id), spots with counts but no position
// (n_not_joined); a source none of whose spots are left is STATUS_MISMATCH. Ids that occur twice are refused. Visium
// with no_counts and without a matrix: all positions in tissue.
//
// Places on the array: legacy_st and visium from the positions, hest and h5ad from obs array_row and array_col if these
// are whole numbers for every spot; otherwise, and in elucidata, there are none (section->no_array).
//
// Lengths: spot_diameter from the scale factors, in legacy_st from the array (100 um of 200). microns_per_pixel from
// HEST's table, from the scale factors of Visium HD, or else from the array, where it is that of Visium (100 um between
// spots) or legacy ST (200 um). Unknown lengths are 0.
//
// Counts must be whole numbers >= 0: `layer` names where they are in an AnnData file ("raw", "counts"); where X holds
// other numbers and no layer was named, the error says which matrices hold whole numbers. Repeated names of genes
// become NAME-1, NAME-2 (counts.h), with a note. Elucidata's abundances are no counts: the section has no genes and a
// table "abundances".
//
// Per-spot tables by name: files proportions/SECTION_NAME.tsv or .csv in the directory, or beside the file, in any
// layout (spot_tables.h), or an embedding NAME of an AnnData file (its column names where it has them, else NAME_1
// ...), or "abundances". A file wins over what stands in the source under the same name.
//
// group: HEST's patient; h5ad: obs patient, donor_id or donor, if it is the same for all spots. spot_values: the
// columns of obs that hold numbers (in_tissue, n_counts; Elucidata's Test_Set); missing ones are NaN.
//
// Errors of one section name it and the file; a file that is damaged costs its own section alone, unless it is the
// source.
#pragma once

#include "guard.h"
#include "section.h"

typedef enum SourceLayout {
    SOURCE_AUTO,
    SOURCE_LEGACY_ST,
    SOURCE_VISIUM,
    SOURCE_HEST,
    SOURCE_H5AD,
    SOURCE_ELUCIDATA,
    SOURCE_LAYOUTS
} SourceLayout;

// "auto", "legacy_st", "visium", "hest", "h5ad", "elucidata"
const char *source_layout_name(SourceLayout layout);
MUST_USE Status source_layout_find(const char *name, SourceLayout *out_layout); // the error lists the names

typedef struct SourceOptions {
    const char *image;  // picture of the only section; NULL: see above
    const char *layer;  // AnnData (h5ad, hest): where the counts are; NULL: X. Refused in other layouts
    bool no_counts;     // the model reads none: sections have no genes (n_genes 0, indptr all 0)
    GuardLimits limits; // of the children that read HDF5
} SourceOptions;

typedef struct Source {
    Arena arena;
    SourceLayout layout; // never SOURCE_AUTO
    char *path;
    size_t count;
    char **section; // [count] names, unique
    SourceOptions options;
    struct SourceInside *inside; // in the arena
} Source;

// SOURCE_AUTO tells the layout by content; the error says what was looked for.
MUST_USE Status source_open(const char *path, SourceLayout layout, const SourceOptions *options, Source *out_source);
void source_close(Source *source); // a zeroed one is fine

// Thread safety: a Source is not changed by reading, but HDF5 files are read in forked children (guard.h): no other
// thread may be inside HDF5 meanwhile.

// The tables that every one of `sections` (positions) has, byte order.
MUST_USE Status source_tables(const Source *source, const size_t *sections, size_t count, Arena *arena,
                              char ***out_names, size_t *out_count);
// One section with the tables named. The picture of a file is located, not opened.
MUST_USE Status source_read(const Source *source, size_t section, char *const *tables, size_t n_tables,
                            Section *out_section);
