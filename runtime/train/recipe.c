// recipe: see recipe.h.
#include "recipe.h"

#include <stdio.h>
#include <string.h>

#include "../core/strings.h"

const char *recipe_value(const Session *session, const char *name, char buffer[RECIPE_TEXT]) {
    const StmPlan *plan = session->plan;
    const char *value = NULL;
    for (int p = 0; p < plan->prepares; p++)
        if (strcmp(plan->prepare[p].name, name) == 0) value = plan->prepare[p].value ? plan->prepare[p].value : "";
    if (!value || value[0] != '$') return value;
    for (int s = 0; s < plan->settings; s++) {
        if (strcmp(plan->setting[s].name, value + 1) != 0) continue;
        if (plan->setting[s].is_text) return session->setting_text[s] ? session->setting_text[s] : "";
        number_f64(session->setting[s], buffer);
        return buffer;
    }
    return value;
}

const char *recipe_argument(const Session *session, const char *name, const char *argument, char buffer[RECIPE_TEXT]) {
    char entry[2 * RECIPE_TEXT];
    snprintf(entry, sizeof entry, "%.250s.%.200s", name, argument);
    return recipe_value(session, entry, buffer);
}

// `text` into a member of a Recipe.
static Status keep(const char *text, const char *ending, char to[RECIPE_TEXT]) {
    size_t n = strlen(text), more = strlen(ending);
    if (n + more >= RECIPE_TEXT)
        return status_make(STATUS_INVALID, "prepare block: the name %.60s... is too long", text);
    memmove(to, text, n);
    memcpy(to + n, ending, more + 1);
    return STATUS_OK;
}

static Status unknown_call(const char *name, const char *call) {
    return status_make(STATUS_UNSUPPORTED,
                       "prepare block: %s = %s(...): the runtime knows tile, counts, expression, proportions, rank, "
                       "neighbours, features, split and spots; the executable was made by another version of stmc",
                       name, call);
}

// A table that entry `name` calls for: proportions or expression. `line` names what expression makes.
static Status table_recipe(const Session *session, const char *name, const char *line, Recipe *recipe) {
    char buffer[RECIPE_TEXT];
    const char *call = recipe_value(session, name, buffer);
    recipe->kind = RECIPE_TABLE;
    if (call && strcmp(call, "proportions") == 0) {
        const char *source = recipe_argument(session, name, "name", buffer);
        if (!source || !*source) return status_make(STATUS_INVALID, "prepare block: %s: the table has no name", line);
        TRY(keep(source, "", recipe->source));
        return keep(source, "", recipe->name);
    }
    if (!call || strcmp(call, "expression") != 0) return unknown_call(line, call ? call : "");
    TRY(keep(name, "", recipe->expression));
    return keep(line, "", recipe->name);
}

static Status rank_recipe(const Session *session, const char *name, Recipe *recipe) {
    char entry[RECIPE_TEXT], buffer[RECIPE_TEXT];
    recipe->rank = true;
    const char *table = recipe_argument(session, name, "table", buffer);
    if (!table) return unknown_call(name, "rank");
    if (table[0] == '@') { // another line
        TRY(table_recipe(session, table + 1, table + 1, recipe));
        return keep(recipe->name, "_rank", recipe->name);
    }
    TRY(keep(name, ".table", entry));
    TRY(table_recipe(session, entry, name, recipe));
    return *recipe->source ? keep(recipe->name, "_rank", recipe->name) : STATUS_OK;
}

Status recipe_dataset(const Session *session, const char *name, Recipe *out_recipe) {
    static const struct {
        const char *call;
        RecipeKind kind;
    } plain[] = {{"tile", RECIPE_TILES},       {"counts", RECIPE_COUNTS}, {"features", RECIPE_FEATURES},
                 {"neighbours", RECIPE_GRAPH}, {"split", RECIPE_SPLIT},   {"spots", RECIPE_SPOTS}};
    char buffer[RECIPE_TEXT];
    const char *call = recipe_value(session, name, buffer);
    *out_recipe = (Recipe){0};
    if (!call) {
        out_recipe->kind = strcmp(name, "tiles") == 0    ? RECIPE_TILES
                           : strcmp(name, "counts") == 0 ? RECIPE_COUNTS
                                                         : RECIPE_STORED;
        return keep(name, "", out_recipe->name);
    }
    if (strcmp(call, "rank") == 0) return rank_recipe(session, name, out_recipe);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(call, plain[i].call) == 0) {
            out_recipe->kind = plain[i].kind;
            return keep(name, "", out_recipe->name);
        }
    return table_recipe(session, name, name, out_recipe);
}
