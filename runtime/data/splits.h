// splits: which spots or sections train, validate and test. Seeded by Philox (core/random.h): the same seed gives the
// same split on every machine and thread count. Groups are given by name: sections, patients (a missing patient is its
// section: spatialtranscriptformer.md §2.5), slides, any label. No group is ever on two sides.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"

typedef enum Side { SIDE_TRAIN, SIDE_VALIDATION, SIDE_TEST } Side;

// Numbers of groups in order of first appearance: group[count]; *out_groups how many; names (may be NULL) in `arena`.
// NULL or empty labels take `fallback[i]` (or, without one, are STATUS_INVALID with the position).
MUST_USE Status groups_number(const char *const *label, const char *const *fallback, size_t count, Arena *arena,
                              int32_t *group, size_t *out_groups, const char ***out_names);

typedef struct SplitOptions {
    double validation, test; // shares of the items or groups, each >= 0, together < 1
    uint32_t seed;
} SplitOptions;

// By item: test takes ceil(n * test), validation ceil(n * validation), at least one item trains. side[count].
MUST_USE Status split_random(size_t count, const SplitOptions *options, uint8_t *side);
// By group (GroupShuffleSplit: shares of the groups, not of the items). As spatialtranscriptformer.md §2.5: held out
// are ceil(groups * (validation + test)); of those ceil(held * test / (validation + test)) test when more than one is
// held. With one group everything trains; *out_held tells how many groups do not train.
MUST_USE Status split_by_group(const int32_t *group, size_t count, size_t groups, const SplitOptions *options,
                               uint8_t *side, size_t *out_held);
// Everything of one group validates, the rest trains (hevisum.md §6: leave one slide out).
MUST_USE Status split_leave_out(const int32_t *group, size_t count, size_t groups, size_t left_out, uint8_t *side);
// Fold 0 .. folds-1 of every group: shuffled groups dealt out so that folds differ by at most one group.
// fold[count]; group NULL: every item is its own group.
MUST_USE Status split_folds(const int32_t *group, size_t count, size_t groups, size_t folds, uint32_t seed,
                            int32_t *fold);
// By lists of names, as cuca.md §2.4 has them: side[i] of every label; a label in two lists, or in none, is an error
// that names it; names listed but not there are counted in *out_unused.
MUST_USE Status split_by_names(const char *const *label, size_t count, const char *const *train, size_t n_train,
                               const char *const *validation, size_t n_validation, const char *const *test,
                               size_t n_test, uint8_t *side, size_t *out_unused);
// How many items are on every side.
void split_count(const uint8_t *side, size_t count, size_t out_count[3]);
