// recipe: what the spec's prepare block says about a dataset, as the plan holds it: flat entries in which
//     tiles = tile(size = 78, pitch = 26)        is  tiles "tile", tiles.size "78", tiles.pitch "26"
//     truth = rank(proportions("minor"))         is  truth "rank", truth.table "proportions", truth.table.name "minor"
// and a value "$depth" stands for the setting depth, "@shares" for the table that the line shares makes. The compiler
// has checked calls, arguments and words (compiler/elaborate/prepare.c); what settings bring is checked where it is
// used.
//
// Names in the store: a table of the source keeps its own name ("minor"), whatever the line is called, so that stores
// prepared for one program serve others; a table made by expression(...), features and splits have the line's name;
// ranks of a table are "TABLE_rank".
#pragma once

#include "session.h"

typedef enum RecipeKind {
    RECIPE_TILES,
    RECIPE_COUNTS,
    RECIPE_TABLE,
    RECIPE_FEATURES,
    RECIPE_GRAPH,  // neighbours: of a section, not a row for a spot
    RECIPE_SPLIT,  // parts of the spots
    RECIPE_SPOTS,  // a filter, no dataset
    RECIPE_STORED, // the block does not say: whatever the store has under the name
} RecipeKind;

enum { RECIPE_TEXT = 256 };

typedef struct Recipe {
    RecipeKind kind;
    char name[RECIPE_TEXT];       // in the store
    char source[RECIPE_TEXT];     // RECIPE_TABLE: the source's table ("minor"); "" when it is made by expression
    char expression[RECIPE_TEXT]; // the entry whose arguments say how; "" otherwise
    bool rank;
} Recipe;

// The value of entry `name`, settings filled in; NULL: no such entry. `buffer` may hold it.
const char *recipe_value(const Session *session, const char *name, char buffer[RECIPE_TEXT]);
// The same for NAME.ARGUMENT.
const char *recipe_argument(const Session *session, const char *name, const char *argument, char buffer[RECIPE_TEXT]);

// A dataset by the name that inputs use. Without an entry tiles are "tiles", counts "counts", others as stored.
MUST_USE Status recipe_dataset(const Session *session, const char *name, Recipe *out_recipe);
