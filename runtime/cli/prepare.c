// prepare: the spec's prepare block, as the plan holds it (train/recipe.h), becomes the options of data/prepare.h; then
// the store is written and what is in it is told in numbers. The compiler has checked the block; here settings get
// their values, which are checked as numbers of the block were.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/pool.h"
#include "../data/prepare.h"
#include "../data/store.h"
#include "../report/progress.h"
#include "../train/recipe.h"
#include "commands.h"

typedef struct Wish { // what the block asks for
    const Session *session;
    Arena *arena;
    const Options *options;
    SourceLayout layout;
    SourceOptions source;
    PrepareOptions prepare;
    PrepareTable *tables;
    PrepareGraph *graphs;
    PrepareFeatures *features;
    PrepareSplit *splits;
    bool tiles, counts; // some line or input reads them
} Wish;

// ---- Values of arguments ---------------------------------------------------------------------------------------

static Status number(const Wish *w, const char *entry, const char *argument, double low, double high, double *value) {
    char buffer[RECIPE_TEXT];
    const char *text = recipe_argument(w->session, entry, argument, buffer);
    if (!text) return STATUS_OK;
    if (parse_f64(text, strlen(text), value) && *value >= low && *value <= high) return STATUS_OK;
    return status_make(STATUS_INVALID, "prepare block: %s of %s is %s; a number from %.10g to %.10g is needed",
                       argument, entry, text, low, high);
}

static Status whole(const Wish *w, const char *entry, const char *argument, double low, double high, double *value) {
    TRY(number(w, entry, argument, low, high, value));
    if (*value == floor(*value)) return STATUS_OK;
    return status_make(STATUS_INVALID, "prepare block: %s of %s is %.10g; a whole number is needed", argument, entry,
                       *value);
}

// The position of the argument's word among `words`, which end with NULL; `otherwise` without the argument.
static Status word(const Wish *w, const char *entry, const char *argument, const char *const *words, int otherwise,
                   int *out) {
    char buffer[RECIPE_TEXT];
    const char *text = recipe_argument(w->session, entry, argument, buffer);
    *out = otherwise;
    if (!text) return STATUS_OK;
    Text list = {0};
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = i;
            text_free(&list);
            return STATUS_OK;
        }
        text_printf(&list, "%s%s", i ? ", " : "", words[i]);
    }
    Status status = status_make(STATUS_INVALID, "prepare block: %s of %s is '%s'; it is one of %s", argument, entry,
                                text, text_string(&list));
    text_free(&list);
    return status;
}

// A copy that lives as long as the session; *out stays NULL without the argument.
static Status copied(const Wish *w, const char *entry, const char *argument, const char **out) {
    char buffer[RECIPE_TEXT], *copy = NULL;
    const char *text = recipe_argument(w->session, entry, argument, buffer);
    if (!text) return STATUS_OK;
    if (!*text) return status_make(STATUS_INVALID, "prepare block: %s of %s is empty", argument, entry);
    TRY(ARENA_COPY(w->arena, copy, text, strlen(text)));
    *out = copy;
    return STATUS_OK;
}

static Status copied_name(const Wish *w, const char *name, const char **out) {
    char *copy = NULL;
    TRY(ARENA_COPY(w->arena, copy, name, strlen(name)));
    *out = copy;
    return STATUS_OK;
}

// A list's path: as it is, from where the command runs, or else from the source.
static Status list_path(const Wish *w, const char *entry, const char *argument, const char **out) {
    TRY(copied(w, entry, argument, out));
    if (!*out || file_exists(*out)) return STATUS_OK;
    const char *beside = path_join(w->arena, w->options->from, *out);
    if (!beside) return arena_exhausted(64, 1);
    if (file_exists(beside)) {
        *out = beside;
        return STATUS_OK;
    }
    return status_make(STATUS_NOT_FOUND, "prepare block: %s of %s: there is neither %s nor %s", argument, entry, *out,
                       beside);
}

static const char *const mito_words[] = {"mt", "mt_contains", "mt_ribo", "mt_ribo_compat", NULL};
static const MitoRule mito_rules[] = {MITO_PREFIX, MITO_CONTAINS, MITO_RIBO_PREFIX, MITO_RIBO_COMPAT, MITO_NONE};

// ---- Calls -----------------------------------------------------------------------------------------------------

static Status read_tile(Wish *w, const char *entry) {
    static const char *const filters[] = {"box", "bilinear", "bicubic", "lanczos", NULL};
    static const ResampleFilter filter_of[] = {RESAMPLE_BOX, RESAMPLE_BILINEAR, RESAMPLE_BICUBIC, RESAMPLE_LANCZOS};
    static const char *const edges[] = {"replicate", "black", "white", NULL};
    static const char *const rounds[] = {"nearest", "down", NULL};
    PrepareTiles *tiles = &w->prepare.tiles;
    double size = (double)tiles->size, jpeg = 0, deflate = 0;
    int filter = 0, edge = 0, round = 0;
    tiles->pitch = 0; // of the four, the one that is given
    TRY(whole(w, entry, "size", 1, 4096, &size));
    TRY(number(w, entry, "pitch", 1e-3, 4096, &tiles->pitch));
    TRY(number(w, entry, "radius", 0.5, 32768, &tiles->radius));
    TRY(number(w, entry, "spots", 1e-3, 1000, &tiles->spots));
    TRY(number(w, entry, "microns", 1e-3, 1e6, &tiles->microns));
    TRY(number(w, entry, "least", 0, 32768, &tiles->least));
    TRY(word(w, entry, "round", rounds, 0, &round));
    TRY(word(w, entry, "filter", filters, 1, &filter));
    TRY(word(w, entry, "edge", edges, 0, &edge));
    TRY(whole(w, entry, "jpeg", 1, 100, &jpeg));
    TRY(whole(w, entry, "deflate", 0, 9, &deflate));
    tiles->size = (size_t)size;
    tiles->truncate = round == 1;
    tiles->filter = filter_of[filter];
    tiles->edge = edge == 0 ? SLIDE_EDGE_REPLICATE : SLIDE_EDGE_FILL;
    memset(tiles->fill, edge == 2 ? 255 : 0, sizeof tiles->fill);
    tiles->jpeg = (int)jpeg;
    tiles->deflate = (int)deflate;
    w->tiles = true;
    return STATUS_OK;
}

static Status read_genes(const Wish *w, const char *entry, PrepareExpression *e) {
    static const char *const words[] = {"all",           "top_mean",           "top_total", "hvg_seurat",
                                        "hvg_seurat_v3", "high_mean_variance", NULL};
    static const PrepareGenes genes[] = {GENES_ALL,        GENES_TOP_MEAN,      GENES_TOP_TOTAL,
                                         GENES_HVG_SEURAT, GENES_HVG_SEURAT_V3, GENES_HIGH_MEAN_VARIANCE};
    char buffer[RECIPE_TEXT];
    const char *text = recipe_argument(w->session, entry, "genes", buffer);
    if (text && strpbrk(text, "./")) { // the rule by which the compiler tells a path from a word
        e->genes = GENES_LIST;
        return list_path(w, entry, "genes", &e->list);
    }
    int chosen = 0;
    TRY(word(w, entry, "genes", words, 0, &chosen));
    e->genes = genes[chosen];
    return STATUS_OK;
}

static Status read_total(const Wish *w, const char *entry, PrepareExpression *e) {
    char buffer[RECIPE_TEXT];
    const char *text = recipe_argument(w->session, entry, "total", buffer);
    if (text && strcmp(text, "median") == 0) {
        e->total = -1;
        return STATUS_OK;
    }
    return number(w, entry, "total", 1e-9, 1e12, &e->total);
}

static Status read_expression(Wish *w, const char *entry, const PrepareExpression **out) {
    static const char *const logs[] = {"natural", "two", "none", NULL};
    static const PrepareLog log_of[] = {LOG_NATURAL, LOG_TWO, LOG_NONE};
    PrepareExpression *e = NULL;
    double n = 0, min_spots = 0;
    int drop = 0, log = 0;
    TRY(ARENA_NEW(w->arena, e, 1));
    TRY(read_genes(w, entry, e));
    TRY(whole(w, entry, "n", 1, 1e6, &n));
    TRY(whole(w, entry, "min_spots", 0, 1e9, &min_spots));
    TRY(word(w, entry, "drop", mito_words, 4, &drop));
    TRY(read_total(w, entry, e));
    TRY(word(w, entry, "log", logs, 2, &log));
    TRY(number(w, entry, "epsilon", 0, 1, &e->epsilon));
    e->count = (size_t)n;
    e->min_spots = (int64_t)min_spots;
    e->drop = mito_rules[drop];
    e->log = log_of[log];
    if (e->genes == GENES_ALL) e->count = 0;
    else if (e->genes != GENES_LIST && e->count == 0)
        return status_make(STATUS_INVALID, "prepare block: %s chooses genes; it needs n, their number", entry);
    w->counts = true;
    *out = e;
    return STATUS_OK;
}

// A table once, whatever number of lines name it.
static Status add_table(Wish *w, const char *name, const char *source, const PrepareExpression *expression,
                        bool ranks) {
    for (size_t i = 0; i < w->prepare.n_tables; i++) {
        const PrepareTable *old = &w->tables[i];
        if (strcmp(old->name, name) != 0) continue;
        bool same = source && old->source && strcmp(source, old->source) == 0 && old->ranks == ranks;
        if (same) return STATUS_OK;
        return status_make(STATUS_INVALID, "prepare block: two lines make a table called %s; give one another name",
                           name);
    }
    PrepareTable *table = &w->tables[w->prepare.n_tables++];
    *table = (PrepareTable){.expression = expression, .ranks = ranks};
    if (source) TRY(copied_name(w, source, &table->source));
    return copied_name(w, name, &table->name);
}

static Status read_table(Wish *w, const Recipe *recipe) {
    const PrepareExpression *expression = NULL;
    if (*recipe->expression) TRY(read_expression(w, recipe->expression, &expression));
    else if (w->options->depth_n) return STATUS_OK; // --depth says which
    return add_table(w, recipe->name, expression ? NULL : recipe->source, expression, recipe->rank);
}

static Status read_neighbours(Wish *w, const char *entry) {
    static const char *const lattices[] = {"hex", "square_4", "square_8", NULL};
    static const Lattice lattice_of[] = {LATTICE_HEX, LATTICE_SQUARE_4, LATTICE_SQUARE_8, LATTICE_HEX};
    static const char *const weights[] = {"one", "mean", "inverse", NULL};
    static const EdgeWeight weight_of[] = {EDGE_ONE, EDGE_MEAN, EDGE_INVERSE};
    PrepareGraph *graph = &w->graphs[w->prepare.n_graphs++];
    char buffer[RECIPE_TEXT];
    double k = 0;
    int lattice = 0, weight = 0;
    *graph = (PrepareGraph){0};
    TRY(copied_name(w, entry, &graph->name));
    TRY(whole(w, entry, "k", 1, 1e6, &k));
    TRY(number(w, entry, "radius", 1e-9, 1e9, &graph->near.radius));
    TRY(number(w, entry, "pitches", 1e-3, 1e6, &graph->radius_pitch));
    TRY(word(w, entry, "lattice", lattices, 3, &lattice));
    TRY(word(w, entry, "weight", weights, 0, &weight));
    const char *self = recipe_argument(w->session, entry, "self", buffer);
    graph->near.nearest = (size_t)k;
    graph->by_lattice = lattice < 3;
    graph->lattice = lattice_of[lattice];
    graph->weights.weight = weight_of[weight];
    graph->weights.self_loops = self && strcmp(self, "true") == 0;
    return STATUS_OK;
}

static Status read_features(Wish *w, const char *entry) {
    PrepareFeatures *features = &w->features[w->prepare.n_features++];
    *features = (PrepareFeatures){0};
    TRY(copied_name(w, entry, &features->name));
    TRY(copied(w, entry, "pattern", &features->pattern));
    return copied(w, entry, "key", &features->key);
}

static Status read_split(Wish *w, const char *entry) {
    static const char *const bys[] = {"spot", "section", "patient", NULL};
    static const PrepareBy by_of[] = {BY_SPOT, BY_SECTION, BY_GROUP};
    PrepareSplit *split = &w->splits[w->prepare.n_splits++];
    double seed = 0;
    int by = 0;
    *split = (PrepareSplit){0};
    TRY(copied_name(w, entry, &split->name));
    TRY(word(w, entry, "by", bys, 0, &by));
    TRY(number(w, entry, "validation", 0, 1, &split->validation));
    TRY(number(w, entry, "test", 0, 1, &split->test));
    TRY(whole(w, entry, "seed", 0, 4294967295.0, &seed));
    TRY(list_path(w, entry, "train_list", &split->list_train));
    TRY(list_path(w, entry, "validation_list", &split->list_validation));
    TRY(list_path(w, entry, "test_list", &split->list_test));
    split->by = by_of[by];
    split->seed = (uint32_t)seed;
    bool lists = split->list_train || split->list_validation || split->list_test;
    double held = split->validation + split->test;
    if (lists ? split->by != BY_SECTION : !(held > 0 && held < 1))
        return status_make(STATUS_INVALID,
                           lists ? "prepare block: %s: lists name sections, so it is by section"
                                 : "prepare block: %s: validation and test must leave something to train and something "
                                   "to hold out",
                           entry);
    return STATUS_OK;
}

static Status read_spots(Wish *w, const char *entry) {
    SpotFilter *keep = &w->prepare.keep;
    double min_genes = 0, max_genes = 0, share = -1;
    int drop = 0;
    TRY(number(w, entry, "min_counts", 0, 1e15, &keep->min_counts));
    TRY(number(w, entry, "max_counts", 0, 1e15, &keep->max_counts));
    TRY(whole(w, entry, "min_genes", 0, 1e9, &min_genes));
    TRY(whole(w, entry, "max_genes", 0, 1e9, &max_genes));
    TRY(number(w, entry, "max_mito", 0, 1, &share));
    TRY(word(w, entry, "drop", mito_words, 0, &drop));
    keep->min_genes = (int64_t)min_genes;
    keep->max_genes = (int64_t)max_genes;
    if (share >= 0) {
        keep->mitochondrial = mito_rules[drop];
        keep->max_mitochondrial = share;
    }
    w->counts = true;
    return STATUS_OK;
}

// ---- The block -------------------------------------------------------------------------------------------------

static Status read_line(Wish *w, const char *entry) {
    Recipe recipe;
    TRY(recipe_dataset(w->session, entry, &recipe));
    switch (recipe.kind) {
    case RECIPE_TILES: return read_tile(w, entry);
    case RECIPE_COUNTS: w->counts = true; return copied(w, entry, "layer", &w->source.layer);
    case RECIPE_TABLE: return read_table(w, &recipe);
    case RECIPE_FEATURES: return read_features(w, entry);
    case RECIPE_GRAPH: return read_neighbours(w, entry);
    case RECIPE_SPLIT: return read_split(w, entry);
    case RECIPE_SPOTS: return read_spots(w, entry);
    case RECIPE_STORED: break;
    }
    return STATUS_OK;
}

// What inputs read that no line makes.
static Status read_inputs(Wish *w) {
    const StmPlan *plan = w->session->plan;
    for (int t = 0; t < plan->tensors; t++) {
        const StmTensor *input = &plan->tensor[t];
        if (input->kind != STM_INPUT || !input->dataset) continue;
        Recipe recipe;
        TRY(recipe_dataset(w->session, input->dataset, &recipe));
        if (recipe.kind == RECIPE_TILES && !w->tiles)
            return status_make(STATUS_INVALID,
                               "input %s reads tiles, but no line of the prepare block makes them; add a line such as "
                               "%s = tile(size = 78, pitch = 26)",
                               input->name, input->dataset);
        w->counts = w->counts || recipe.kind == RECIPE_COUNTS;
        w->prepare.all_tables = w->prepare.all_tables || (recipe.kind == RECIPE_STORED && !w->options->depth_n);
    }
    return STATUS_OK;
}

static Status read_block(Wish *w) {
    const StmPlan *plan = w->session->plan;
    const Options *o = w->options;
    size_t most = (size_t)plan->prepares + 2 * (size_t)o->depth_n + 1;
    char buffer[RECIPE_TEXT];
    TRY(ARENA_NEW(w->arena, w->tables, most));
    TRY(ARENA_NEW(w->arena, w->graphs, most));
    TRY(ARENA_NEW(w->arena, w->features, most));
    TRY(ARENA_NEW(w->arena, w->splits, most));
    const char *layout = recipe_value(w->session, "layout", buffer);
    if (layout) TRY_IN(source_layout_find(layout, &w->layout), "prepare block: layout");
    for (int i = 0; i < o->depth_n; i++) {
        char name[RECIPE_TEXT];
        snprintf(name, sizeof name, "%.240s_rank", o->depth[i]);
        TRY(add_table(w, o->depth[i], o->depth[i], NULL, false));
        TRY(add_table(w, name, o->depth[i], NULL, true));
    }
    for (int p = 0; p < plan->prepares; p++) {
        const char *entry = plan->prepare[p].name;
        if (!strchr(entry, '.') && strcmp(entry, "layout") != 0) TRY(read_line(w, entry));
    }
    TRY(read_inputs(w));
    PrepareOptions *options = &w->prepare;
    options->no_tiles = !w->tiles;
    options->tables = w->tables;
    options->graphs = w->graphs;
    options->features = w->features;
    options->splits = w->splits;
    return STATUS_OK;
}

// ---- What was made ---------------------------------------------------------------------------------------------

static const char *ending(size_t count) {
    return count == 1 ? "" : "s";
}

static Status print_graph(Store *store, const char *name) {
    const StoreInfo *info = store_info(store);
    int64_t edges = 0, most = 0, none = 0;
    for (size_t s = 0; s < info->n_sections; s++) {
        StoreGraph graph;
        Arena arena;
        arena_init(&arena);
        Status status = store_read_graph(store, s, name, &arena, &graph);
        for (size_t i = 0; status == STATUS_OK && i < info->sections[s].n_spots; i++) {
            int64_t n = graph.start[i + 1] - graph.start[i];
            edges += n;
            most = n > most ? n : most;
            none += n == 0;
        }
        arena_free(&arena);
        TRY(status);
    }
    printf("  graph     %-20s %.2f neighbours a spot, at most %lld", name,
           info->n_spots ? (double)edges / (double)info->n_spots : 0, (long long)most);
    if (none) printf("; %lld spot%s without", (long long)none, ending((size_t)none));
    printf("\n");
    return STATUS_OK;
}

static Status print_split(Store *store, size_t split) {
    const StoreInfo *info = store_info(store);
    const StoreParts *parts = &info->splits[split];
    int64_t *count = calloc(parts->n_parts + 1, sizeof *count), in_none = 0; // spots in every part
    int32_t *part = malloc((info->n_spots + 1) * sizeof *part);
    Status status =
        count && part ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for the split %s", parts->name);
    for (size_t s = 0; s < info->n_sections && status == STATUS_OK; s++) {
        status = store_read_split(store, s, split, part);
        for (size_t i = 0; status == STATUS_OK && i < info->sections[s].n_spots; i++) {
            if (part[i] < 0) in_none++;
            else count[part[i]]++;
        }
    }
    if (status == STATUS_OK) {
        printf("  split     %-20s", parts->name);
        for (size_t p = 0; p < parts->n_parts; p++)
            printf("%s %s %lld", p ? "," : "", parts->parts[p], (long long)count[p]);
        if (in_none) printf(", in none %lld", (long long)in_none);
        printf("\n");
    }
    free(count);
    free(part);
    return status;
}

static Status print_store(const char *path) {
    Store *store = NULL;
    TRY(store_open(path, &store));
    const StoreInfo *info = store_info(store);
    Status status = STATUS_OK;
    printf("%s: %zu section%s, %zu spot%s", path, info->n_sections, ending(info->n_sections), info->n_spots,
           ending(info->n_spots));
    if (info->tile_size) printf(", tiles of %zu x %zu pixels", info->tile_size, info->tile_size);
    else printf(", no tiles");
    if (info->n_genes) printf(", %zu gene%s", info->n_genes, ending(info->n_genes));
    printf("\n");
    for (size_t t = 0; t < info->n_tables; t++)
        printf("  table     %-20s %zu column%s\n", info->tables[t].name, info->tables[t].n_columns,
               ending(info->tables[t].n_columns));
    for (size_t f = 0; f < info->n_features; f++)
        printf("  features  %-20s %zu wide\n", info->features[f].name, info->features[f].width);
    for (size_t g = 0; g < info->n_graphs && status == STATUS_OK; g++) status = print_graph(store, info->graphs[g]);
    for (size_t s = 0; s < info->n_splits && status == STATUS_OK; s++) status = print_split(store, s);
    store_close(store);
    return status;
}

// Whether this program can read what it prepared: the number of chosen genes may differ from an axis of the spec, for
// instance. The store is good either way, so that is a note.
static Status print_misfits(const Wish *w) {
    const StmPlan *plan = w->session->plan;
    int64_t *extent = NULL;
    Rows *rows = NULL;
    TRY(ARENA_NEW(w->arena, extent, (size_t)plan->axes + 1));
    for (int a = 0; a < plan->axes; a++) extent[a] = plan->axis[a].count;
    TRY(rows_open(&w->options->out, 1, &rows));
    for (int t = 0; t < plan->tensors; t++) {
        RowFeed feed;
        if (plan->tensor[t].kind != STM_INPUT || !plan->tensor[t].dataset) continue;
        Status status = rows_bind(rows, w->session, t, extent, &feed);
        if (status == STATUS_OK) continue;
        printf("note: this program cannot read all of it: %s\n", status_message(status));
        status_drop(status);
    }
    rows_close(rows);
    return STATUS_OK;
}

static Status print_summary(const Wish *w, const PrepareReport *report) {
    TRY(print_store(w->options->out));
    if (w->options->append)
        printf("added: %zu section%s, %zu spot%s\n", report->n_sections, ending(report->n_sections), report->n_spots,
               ending(report->n_spots));
    if (report->n_left_out) printf("%zu selected spots without counts left out\n", report->n_left_out);
    if (report->n_filtered) printf("%zu spots left out by the filter\n", report->n_filtered);
    if (report->n_edge_tiles) printf("%zu tiles reach over the edge of their picture\n", report->n_edge_tiles);
    fputs(text_string(&report->notes), stdout);
    return print_misfits(w);
}

// ---- The command -----------------------------------------------------------------------------------------------

typedef struct Screen {
    Progress progress;
    const volatile sig_atomic_t *stop;
} Screen;

static bool show(void *context, const char *what, double fraction) {
    Screen *screen = context;
    progress_update(&screen->progress, (int64_t)(fraction * 1000), what);
    return !*screen->stop;
}

// The sections of `from` that a model wants, as one store. Where nothing needs counts they are not read; in legacy ST
// they still say which spots there are.
static Status prepare_from(Wish *w, PrepareReport *report) {
    Source source = {0};
    TRY(source_open(w->options->from, w->layout, &w->source, &source));
    source.options.no_counts = !w->counts && source.layout != SOURCE_LEGACY_ST;
    Status status = prepare_store(&source, w->options->out, &w->prepare, report);
    source_close(&source);
    return status;
}

Status command_prepare(const CommandInput *input) {
    const Options *o = input->options;
    Session *session = input->session;
    Wish w = {.session = session, .arena = &session->arena, .options = o, .prepare = prepare_defaults()};
    PrepareReport report = {0};
    Pool *pool = NULL;
    Screen screen = {.progress = progress_new(stderr, "step"), .stop = input->stop};
    w.source.image = o->image;
    w.prepare.all_tables = false;
    TRY(read_block(&w));
    w.prepare.program = arena_printf(w.arena, "%s, stmc %s", session->plan->name, session->plan->version);
    if (!w.prepare.program) return arena_exhausted(64, 1);
    w.prepare.sections = o->section;
    w.prepare.n_sections = (size_t)o->section_n;
    w.prepare.append = o->append;
    TRY(pool_new(o->threads > 0 ? (int)o->threads : usable_threads(), &pool));
    w.prepare.pool = pool;
    w.prepare.progress = show;
    w.prepare.context = &screen;
    progress_begin(&screen.progress, "prepare", 0, 1000);
    Status status = prepare_from(&w, &report);
    progress_end(&screen.progress);
    pool_free(pool);
    if (status == STATUS_OK) status = print_summary(&w, &report);
    prepare_report_free(&report);
    return status;
}
