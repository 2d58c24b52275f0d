// prepare_inside: what the files of prepare share. Internal to runtime/data.
//
// prepare.c runs the two passes, prepare_choose.c chooses genes over all sections, prepare_tables.c fills tables,
// prepare_tiles.c cuts tiles, prepare_rows.c reads slides row by row, prepare_lists.c makes graphs, features and
// splits, prepare_provenance.c says where it all came from.
#pragma once

#include "../core/json.h"
#include "prepare.h"
#include "store.h"
#include "vocabulary.h"

// What was decided once for an expression table, over all sections.
typedef struct Choice {
    const PrepareExpression *expression;
    const char *name;  // of the first table that asked, for messages
    Vocabulary genes;  // the table's columns
    double target;     // every spot is scaled to this; 0: spots are not scaled
    Vocabulary scarce; // genes that too few spots have: left out before scaling
    NameIndex scarce_index;
} Choice;

typedef struct PlannedTable { // of the store
    const char *name;
    size_t read;    // position in Preparation.read, unless `choice`
    Choice *choice; // NULL: a table of the source
    bool ranks;
} PlannedTable;

typedef struct PlannedSplit {
    const PrepareSplit *split;
    uint8_t *side; // [n_sections]; NULL: by spot
} PlannedSplit;

typedef struct Preparation {
    const Source *source;
    const PrepareOptions *options;
    const char *path;
    PrepareReport *report;
    Arena arena;
    StoreWriter *writer;
    size_t n_sections;
    size_t *section; // [n_sections] their numbers in the source
    char **read;     // [n_read] tables that are read with every section
    size_t n_read;
    PlannedTable *table; // [n_tables]
    size_t n_tables;
    Choice *choice; // [n_choices]
    size_t n_choices;
    PlannedSplit *split; // [n_splits of the options]
    size_t held_bytes;
    Store *old; // appending: the store as it is
    // Progress: `done` of `total` units of work are over; `unit` of them are what is worked on now, `now` its name.
    double done, unit, total;
    const char *now;
} Preparation;

// False: stop. `fraction` is of the unit. prepare_going says so as a Status.
bool prepare_progress(const Preparation *work, const char *stage, double fraction);
MUST_USE Status prepare_going(const Preparation *work, const char *stage, double fraction);

static inline const char *section_name(const Preparation *work, size_t number) {
    return work->source->section[work->section[number]];
}

// ---- prepare_choose.c ---------------------------------------------------------------------------
// The counts as a Matrix that borrows the section's gene names.
MUST_USE Status counts_matrix(const Section *section, Matrix *out_matrix);
// The first pass gathers section by section, then decides.
typedef struct Gathering Gathering;
bool choices_need_counts(const Preparation *work); // whether any choice depends on the counts of all sections
MUST_USE Status gathering_create(Preparation *work, Gathering **out_gathering);
MUST_USE Status gathering_add(Gathering *gathering, const Section *section, size_t number);
MUST_USE Status gathering_decide(Gathering *gathering); // fills every Choice
void gathering_free(Gathering *gathering);
MUST_USE Status choices_alone(Preparation *work); // where no choice needs counts
void choices_free(Preparation *work);
// The section's counts without the genes that the choice leaves out, scaled; borrows names.
MUST_USE Status choice_scaled(const Choice *choice, const Matrix *counts, double target, Matrix *out_matrix);

// ---- prepare_tables.c ---------------------------------------------------------------------------
MUST_USE Status tables_plan(Preparation *work);
// The store's tables in place of those that were read.
MUST_USE Status tables_fill(Preparation *work, Section *section);
// The spots that `keep` keeps, in place. out_row[n_spots]: which row of the section as it was read every spot is;
// *out_n_before how many rows that had.
MUST_USE Status section_filter(Preparation *work, Section *section, size_t **out_row, size_t *out_n_before);

// ---- prepare_tiles.c ----------------------------------------------------------------------------
typedef struct TileJob TileJob;
MUST_USE Status tiles_check(const PrepareOptions *options);
// Opens the section's picture, finds scales and makes the thumbnail; fills the picture's part of `extra`, whose
// `context` is the job. Notes go to the report.
MUST_USE Status tiles_begin(Preparation *work, const Section *section, TileJob **out_job, StoreSectionExtra *extra);
void tiles_end(TileJob *job);
const char *tiles_filter_name(ResampleFilter filter);
const char *tiles_edge_name(const PrepareTiles *tiles, char buffer[32]);

// ---- prepare_rows.c -----------------------------------------------------------------------------
typedef struct RowReader RowReader; // a level of a slide, which must stay open
MUST_USE Status row_reader_open(Slide *slide, size_t level, Pool *pool, RowReader **out_reader);
// A ResampleRows. Rows are asked for from the top.
MUST_USE Status row_reader_rows(void *reader, size_t first, size_t count, uint8_t *rgb);
void row_reader_close(RowReader *reader); // NULL is fine

// ---- prepare_lists.c ----------------------------------------------------------------------------
MUST_USE Status splits_check(const PrepareOptions *options);
bool splits_need_groups(const PrepareOptions *options);
// group[n_sections], NULL where unknown; the whole may be NULL where none is needed.
MUST_USE Status splits_plan(Preparation *work, char *const *group);
// Fills the lists of `extra`, memory from `arena`; files that are read become inputs of the section.
MUST_USE Status lists_fill(Preparation *work, Section *section, size_t number, const size_t *row, size_t n_before,
                           Arena *arena, StoreSectionExtra *extra);

// ---- prepare_provenance.c -----------------------------------------------------------------------
MUST_USE Status describe_parameters(const Preparation *work, JsonWriter *json);
MUST_USE Status describe_inputs(const Preparation *work, const Section *section, JsonWriter *json);
MUST_USE Status describe_left_out(const Section *section, size_t n_filtered, JsonWriter *json);
void note_section(const Section *section, size_t n_filtered, Text *notes);
// Appending: the store must have been made with the same parameters.
MUST_USE Status compare_parameters(const Preparation *work);
// The target that the store's table `name` was scaled to; 0: not known.
double old_target(const Preparation *work, const char *name);
