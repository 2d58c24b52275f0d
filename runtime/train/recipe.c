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

enum { DEEPEST = 8 };

static Status follow(const Session *session, const char *name, int depth, Recipe *recipe) {
    char buffer[RECIPE_TEXT], inner[RECIPE_TEXT], text[RECIPE_TEXT];
    const char *value = recipe_value(session, name, buffer);
    if (depth == DEEPEST || strlen(name) > RECIPE_TEXT - 16)
        return status_make(STATUS_INVALID, "prepare block: %.60s goes round in circles", name);
    snprintf(inner, sizeof inner, "%s.0", name);
    const char *argument = recipe_value(session, inner, text);
    if (!value) {
        recipe->kind = strcmp(name, "tiles") == 0    ? RECIPE_TILES
                       : strcmp(name, "counts") == 0 ? RECIPE_COUNTS
                                                     : RECIPE_TABLE;
        snprintf(recipe->table, sizeof recipe->table, "%s", name);
        return STATUS_OK;
    }
    if (strcmp(value, "tile") == 0) recipe->kind = RECIPE_TILES;
    else if (strcmp(value, "counts") == 0) recipe->kind = RECIPE_COUNTS;
    else if (strcmp(value, "proportions") == 0 && argument) {
        recipe->kind = RECIPE_TABLE;
        snprintf(recipe->table, sizeof recipe->table, "%s", argument);
        snprintf(recipe->proportions, sizeof recipe->proportions, "%s", argument);
    } else if (strcmp(value, "rank") == 0 && argument) {
        // The argument is a call (an entry of its own) or the name of a dataset above.
        char deeper[RECIPE_TEXT], ignored[RECIPE_TEXT];
        snprintf(deeper, sizeof deeper, "%.*s.0", RECIPE_TEXT - 3, inner);
        bool call = recipe_value(session, deeper, ignored) != NULL;
        TRY(follow(session, call ? inner : argument, depth + 1, recipe));
        if (recipe->kind != RECIPE_TABLE)
            return status_make(STATUS_INVALID, "prepare block: %s: rank takes proportions", name);
        recipe->rank = true;
        size_t n = strlen(recipe->table);
        if (n + 6 > sizeof recipe->table)
            return status_make(STATUS_INVALID, "prepare block: the name %.60s is too long", recipe->table);
        memcpy(recipe->table + n, "_rank", 6);
    } else {
        return status_make(
            STATUS_UNSUPPORTED,
            "prepare block: %s = %s: this program prepares tile(...), counts(), proportions(\"...\") and "
            "rank(...)",
            name, value);
    }
    return STATUS_OK;
}

Status recipe_dataset(const Session *session, const char *name, Recipe *out_recipe) {
    *out_recipe = (Recipe){0};
    return follow(session, name, 0, out_recipe);
}
