// splits: see splits.h.
#include "splits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/random.h"
#include "../core/strings.h"

Status groups_number(const char *const *label, const char *const *fallback, size_t count, Arena *arena, int32_t *group,
                     size_t *out_groups, const char ***out_names) {
    NameIndex index;
    const char **names;
    if (count > INT32_MAX) return status_make(STATUS_UNSUPPORTED, "%zu labels are too many", count);
    TRY(name_index_init(&index, arena, count));
    TRY(ARENA_NEW(arena, names, count));
    size_t groups = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = label[i];
        if ((!name || !*name) && fallback) name = fallback[i];
        if (!name || !*name)
            return status_make(STATUS_INVALID, "item %zu has no group; give every spot a section or patient", i);
        int64_t known = name_index_add(&index, name, (int64_t)groups);
        if (known < 0) {
            known = (int64_t)groups;
            names[groups++] = name;
        }
        group[i] = (int32_t)known;
    }
    *out_groups = groups;
    if (out_names) *out_names = names;
    return STATUS_OK;
}

static Status check_shares(const SplitOptions *options) {
    if (options->validation >= 0 && options->test >= 0 && options->validation + options->test < 1) return STATUS_OK;
    return status_make(STATUS_INVALID, "split: validation %g and test %g must be >= 0 and leave something to train",
                       options->validation, options->test);
}

static Status check_groups(const int32_t *group, size_t count, size_t groups) {
    for (size_t i = 0; i < count; i++)
        if (group[i] < 0 || (size_t)group[i] >= groups)
            return status_make(STATUS_INVALID, "item %zu is of group %d of %zu", i, group[i], groups);
    return STATUS_OK;
}

// A share rounded up, with room for products such as 0.1 * 30 that miss a whole number by rounding.
static size_t share_of(size_t count, double share) {
    return (size_t)ceil((double)count * share - 1e-9);
}

static Status shuffled(size_t count, uint32_t seed, int64_t **out_order) {
    int64_t *order = malloc((count + 1) * sizeof *order);
    if (!order) return status_make(STATUS_NO_MEMORY, "no memory to shuffle %zu items", count);
    for (size_t i = 0; i < count; i++) order[i] = (int64_t)i;
    random_shuffle(order, count, seed, 0);
    *out_order = order;
    return STATUS_OK;
}

Status split_random(size_t count, const SplitOptions *options, uint8_t *side) {
    TRY(check_shares(options));
    if (count == 0) return STATUS_OK;
    int64_t *order = NULL;
    TRY(shuffled(count, options->seed, &order));
    size_t test = share_of(count, options->test), validation = share_of(count, options->validation);
    if (test > count - 1) test = count - 1;
    if (validation > count - 1 - test) validation = count - 1 - test;
    for (size_t i = 0; i < count; i++)
        side[order[i]] = i < test ? SIDE_TEST : i < test + validation ? SIDE_VALIDATION : SIDE_TRAIN;
    free(order);
    return STATUS_OK;
}

Status split_by_group(const int32_t *group, size_t count, size_t groups, const SplitOptions *options, uint8_t *side,
                      size_t *out_held) {
    *out_held = 0;
    TRY(check_shares(options));
    TRY(check_groups(group, count, groups));
    int64_t *order = NULL;
    uint8_t *of_group = calloc(groups + 1, 1);
    if (!of_group) return status_make(STATUS_NO_MEMORY, "no memory for %zu groups", groups);
    Status status = shuffled(groups, options->seed, &order);
    double share = options->validation + options->test;
    size_t held = groups > 1 ? share_of(groups, share) : 0;
    if (groups > 1 && held > groups - 1) held = groups - 1;
    size_t test = 0;
    if (held == 1) test = options->validation > 0 ? 0 : 1;
    else if (held > 1 && options->test > 0) test = share_of(held, options->test / share);
    if (held > 1 && options->validation > 0 && test == held) test = held - 1;
    for (size_t g = 0; g < held && status == STATUS_OK; g++)
        of_group[order[g]] = g < test ? SIDE_TEST : SIDE_VALIDATION;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) side[i] = of_group[group[i]];
    if (status == STATUS_OK) *out_held = held;
    free(order);
    free(of_group);
    return status;
}

Status split_leave_out(const int32_t *group, size_t count, size_t groups, size_t left_out, uint8_t *side) {
    TRY(check_groups(group, count, groups));
    if (left_out >= groups)
        return status_make(STATUS_INVALID, "group %zu is to be left out, and there are %zu", left_out, groups);
    for (size_t i = 0; i < count; i++) side[i] = (size_t)group[i] == left_out ? SIDE_VALIDATION : SIDE_TRAIN;
    return STATUS_OK;
}

Status split_folds(const int32_t *group, size_t count, size_t groups, size_t folds, uint32_t seed, int32_t *fold) {
    if (group) TRY(check_groups(group, count, groups));
    else groups = count;
    if (folds < 2 || folds > groups)
        return status_make(STATUS_INVALID, "%zu folds of %zu %s; use 2 to %zu", folds, groups,
                           group ? "groups" : "items", groups);
    int64_t *order = NULL;
    int32_t *of_group = malloc((groups + 1) * sizeof *of_group);
    if (!of_group) return status_make(STATUS_NO_MEMORY, "no memory for %zu groups", groups);
    Status status = shuffled(groups, seed, &order);
    for (size_t g = 0; g < groups && status == STATUS_OK; g++) of_group[order[g]] = (int32_t)(g % folds);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) fold[i] = of_group[group ? (size_t)group[i] : i];
    free(order);
    free(of_group);
    return status;
}

Status split_by_names(const char *const *label, size_t count, const char *const *train, size_t n_train,
                      const char *const *validation, size_t n_validation, const char *const *test, size_t n_test,
                      uint8_t *side, size_t *out_unused) {
    static const char *const side_name[] = {"train", "validation", "test"};
    const char *const *list[] = {train, validation, test};
    size_t length[] = {n_train, n_validation, n_test}, listed = n_train + n_validation + n_test;
    Arena arena;
    NameIndex index;
    uint8_t *used = NULL;
    arena_init(&arena);
    *out_unused = 0;
    Status status = name_index_init(&index, &arena, listed);
    if (status == STATUS_OK) status = ARENA_NEW(&arena, used, listed + 1);
    for (int s = 0; s < 3 && status == STATUS_OK; s++)
        for (size_t i = 0; i < length[s] && status == STATUS_OK; i++) {
            int64_t known = name_index_add(&index, list[s][i], s);
            if (known >= 0 && known != s)
                status = status_make(STATUS_INVALID, "\"%s\" is in the %s list and in the %s list", list[s][i],
                                     side_name[known], side_name[s]);
        }
    size_t distinct = index.count, met = 0;
    NameIndex seen;
    if (status == STATUS_OK) status = name_index_init(&seen, &arena, count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        int64_t known = name_index_find(&index, label[i]);
        if (known < 0)
            status = status_make(STATUS_NOT_FOUND,
                                 "\"%s\" is in no list of the split; add it to train, validation or test", label[i]);
        else side[i] = (uint8_t)known;
        if (known >= 0 && name_index_add(&seen, label[i], 0) < 0) met++;
    }
    if (status == STATUS_OK) *out_unused = distinct - met;
    arena_free(&arena);
    return status;
}

void split_count(const uint8_t *side, size_t count, size_t out_count[3]) {
    memset(out_count, 0, 3 * sizeof *out_count);
    for (size_t i = 0; i < count; i++) out_count[side[i]]++;
}
