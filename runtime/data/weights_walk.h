// weights_walk: collects the tensors and facts of a file of weights, with their names.
#pragma once

#include "weights.h"

typedef struct WeightsWalk {
    const char *path; // a copy
    Arena arena;      // names and values
    WeightsTensor *tensor;
    const PickleView **view; // [count] NULL: safetensors
    size_t count, room;
    WeightsFact *fact;
    size_t facts, fact_room;
    Text name;    // of where the walk stands
    size_t steps; // values seen
} WeightsWalk;

void walk_begin(WeightsWalk *walk, const char *path); // walk->path NULL: no memory
void walk_end(WeightsWalk *walk);

// One tensor or fact; `shape` gives type, shape and elements, `view` may be NULL. Texts are copied.
MUST_USE Status walk_tensor(WeightsWalk *walk, const char *name, const PickleView *shape, const PickleView *view);
MUST_USE Status walk_fact(WeightsWalk *walk, const char *name, const char *value, bool is_text);
// A whole tree. Its values are marked while the walk is below them.
MUST_USE Status walk_pickle(WeightsWalk *walk, PickleValue *root);
