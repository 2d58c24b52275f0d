// vocabulary: lists of genes: read from files, built from samples, looked up in a matrix. Also tables of cell types,
// which are lists of names with a number per spot.
//
// Names are compared exactly. A Vocabulary keeps the order of its list, which is the order of a model's outputs.
#pragma once

#include "../core/strings.h"
#include "matrix.h"
#include "normalise.h"

typedef struct Vocabulary {
    char **gene; // [count] distinct
    size_t count;
    size_t repeated; // names met again while reading: dropped
    Arena arena;
} Vocabulary;

void vocabulary_free(Vocabulary *vocabulary); // a zeroed one is fine
// A JSON array of strings (global_genes.json, spatialtranscriptformer.md §2.6) or text with one name a line (stem.md
// §3.3); told apart by the first character. most > 0: at most so many, from the front. An empty list, or one that is
// not text, is STATUS_MALFORMED.
MUST_USE Status vocabulary_read(const char *path, size_t most, Vocabulary *out_vocabulary);
MUST_USE Status vocabulary_from(const char *const *names, size_t count, Vocabulary *out_vocabulary);
// JSON with indent 4, or text when the path ends in .txt. Written beside and renamed.
MUST_USE Status vocabulary_write(const Vocabulary *vocabulary, const char *path);

// Columns of a matrix for every gene: column[count], -1 where the matrix lacks it. *out_missing how many it lacks.
MUST_USE Status vocabulary_columns(const Vocabulary *vocabulary, const Matrix *matrix, int64_t *column,
                                   size_t *out_missing);
// The matrix with exactly the vocabulary's columns, in its order; missing genes are columns of zeros
// (spatialtranscriptformer.md §2.7). Where a name occurs twice in the matrix the last column counts there too.
MUST_USE Status vocabulary_align(const Vocabulary *vocabulary, const Matrix *matrix, Matrix *out_matrix,
                                 size_t *out_missing);

// ---- Choosing genes -------------------------------------------------------------------------------
typedef enum TopBy { TOP_MEAN, TOP_TOTAL, TOP_SPOTS, TOP_DEVIATION } TopBy; // descending; ties by column

// The `count` highest columns, best first; order[columns] takes them, *out_count how many.
MUST_USE Status top_columns(const Matrix *matrix, TopBy by, size_t count, size_t *order, size_t *out_count);

// Adds up genes over samples (spatialtranscriptformer.md §2.6): names repeated within a sample add too.
typedef struct VocabularyBuilder {
    Arena arena;
    NameIndex index;
    size_t genes, room, samples;
    char **gene;   // [genes] in order of first appearance
    double *total; // [genes] counts
    double *moran; // [genes] sum over the samples that gave one
    size_t *with_moran, *in_samples;
} VocabularyBuilder;

void builder_free(VocabularyBuilder *builder); // a zeroed one is fine
// moran[columns] may be NULL (moran_columns in moran.h gives it).
MUST_USE Status builder_add(VocabularyBuilder *builder, const Matrix *matrix, const double *moran);
// `first` genes (pathways; those no sample has are left out) in their order, then the best of the rest until `count`:
// by total, descending, or with weight a = spatial_weight > 0 by (1 - a) * rank of total + a * rank of mean Moran's I
// (0-based, lower is better; genes without a Moran rank as 0). Ties by order of appearance.
MUST_USE Status builder_choose(const VocabularyBuilder *builder, size_t count, double spatial_weight,
                               const char *const *first, size_t n_first, Vocabulary *out_vocabulary);

// The gene list of stem.md §3.3 (HMHVG) over slides with raw counts: genes in all slides; per slide HVG seurat (2,000
// of 20 bins, NaN as 0) after dropping empty spots and genes, scaling to the median and log1p; their union without
// `drop`; the best `genes` by mean and by deviation over all spots; what is in both, sorted by name.
MUST_USE Status vocabulary_high_mean_variance(const Matrix *const *slides, size_t count, size_t genes, size_t hvg,
                                              MitoRule drop, Vocabulary *out_vocabulary);

// ---- Cell types -----------------------------------------------------------------------------------
typedef struct CellTypes { // abundances or proportions
    size_t spots, types;
    char **spot, **type; // names; blanks kept ("NK cells ")
    double *value;       // [spots][types]
    Arena arena;
} CellTypes;

void celltypes_free(CellTypes *table); // a zeroed one is fine
// A .csv (comma) or any other name (tab) with the spot id in the first column, one type a column; .gz fine. Text that
// is no number, NaN, a spot or type that occurs twice: STATUS_MALFORMED with file, line and column.
MUST_USE Status celltypes_read(const char *path, CellTypes *out_table);
// Rows for the spots asked for, in that order, types of `types` (NULL: the table's). Spots the table lacks become rows
// of NaN, counted in *out_missing. A type it lacks is STATUS_NOT_FOUND.
MUST_USE Status celltypes_align(const CellTypes *table, const char *const *spots, size_t count,
                                const char *const *types, size_t n_types, double *values, size_t *out_missing);
// Every row divided by its sum; rows of sum 0 (or NaN) are left alone and counted.
size_t celltypes_to_proportions(double *values, size_t spots, size_t types);
