// recipe: what the spec's prepare block says about a dataset, as the plan holds it: flat entries in which
//     tiles = tile(size = 78, pitch = 26)        is  tiles "tile", tiles.size "78", tiles.pitch "26"
//     truth = rank(proportions("minor"))         is  truth "rank", truth.0 "proportions", truth.0.0 "minor"
// and a value "$depth" stands for the setting depth.
#pragma once

#include "session.h"

typedef enum RecipeKind { RECIPE_TILES, RECIPE_COUNTS, RECIPE_TABLE } RecipeKind;

enum { RECIPE_TEXT = 256 };

typedef struct Recipe {
    RecipeKind kind;
    char table[RECIPE_TEXT];       // RECIPE_TABLE: its name in the store ("minor_rank")
    char proportions[RECIPE_TEXT]; // the proportions that it is made from ("minor"); "" otherwise
    bool rank;
} Recipe;

// The value of entry `name`, settings filled in; NULL: no such entry. `buffer` may hold it.
const char *recipe_value(const Session *session, const char *name, char buffer[RECIPE_TEXT]);

// A dataset by the name that inputs use. Without an entry the name itself is the dataset: tiles, counts or a
// table.
MUST_USE Status recipe_dataset(const Session *session, const char *name, Recipe *out_recipe);
