// source: see source.h. One table of layouts; what is common to all of them: telling the layout, names, and tables in
// files beside the source.
#include "source.h"

#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "source_inside.h"
#include "spot_tables.h"

static const struct {
    const char *name;
    const SourceMethods *methods;
} layouts[SOURCE_LAYOUTS] = {
    [SOURCE_AUTO] = {"auto", NULL},
    [SOURCE_LEGACY_ST] = {"legacy_st", &source_legacy_st},
    [SOURCE_VISIUM] = {"visium", &source_visium},
    [SOURCE_HEST] = {"hest", &source_hest},
    [SOURCE_H5AD] = {"h5ad", &source_h5ad},
    [SOURCE_ELUCIDATA] = {"elucidata", &source_elucidata},
};

const char *source_layout_name(SourceLayout layout) {
    return (unsigned)layout < SOURCE_LAYOUTS ? layouts[layout].name : "unknown";
}

Status source_layout_find(const char *name, SourceLayout *out) {
    *out = SOURCE_AUTO;
    for (int i = 0; i < SOURCE_LAYOUTS; i++)
        if (strcmp(layouts[i].name, name) == 0) {
            *out = (SourceLayout)i;
            return STATUS_OK;
        }
    char q[QUOTED_TEXT];
    return status_make(STATUS_INVALID,
                       "there is no layout %s; there are auto, legacy_st, visium, hest, h5ad, elucidata",
                       quoted(name, strlen(name), q));
}

// ---- Which layout ---------------------------------------------------------------------------------

static bool holds(const char *directory, const char *name, Arena *arena) {
    char *path = path_join(arena, directory, name);
    return path && is_directory(path);
}

static Status detect_directory(const char *path, Arena *arena, SourceLayout *out) {
    char **names = NULL, *home = NULL;
    size_t count = 0;
    TRY(directory_list(path, arena, &names, &count));
    bool table = false, h5ad = false;
    for (size_t i = 0; i < count; i++) {
        table = table || (strncmp(names[i], "HEST_v", 6) == 0 && string_ends_with(names[i], ".csv"));
        h5ad = h5ad || (names[i][0] != '.' && string_ends_with(names[i], ".h5ad"));
    }
    *out = SOURCE_AUTO;
    if (holds(path, "counts", arena) && holds(path, "spots", arena)) *out = SOURCE_LEGACY_ST;
    else if (table || holds(path, "st", arena)) *out = SOURCE_HEST;
    if (*out != SOURCE_AUTO) return STATUS_OK;
    TRY(source_visium_home(path, arena, &home));
    for (size_t i = 0; i < count && !home && !h5ad; i++) {
        char *below = names[i][0] == '.' ? NULL : path_join(arena, path, names[i]);
        if (below && is_directory(below)) TRY(source_visium_home(below, arena, &home));
    }
    *out = home ? SOURCE_VISIUM : h5ad ? SOURCE_H5AD : SOURCE_AUTO;
    if (*out != SOURCE_AUTO) return STATUS_OK;
    return status_make(STATUS_NOT_FOUND,
                       "%s: no layout was recognised in this directory; looked for counts/ and spots/ (legacy_st), "
                       "HEST_v*.csv or st/ (hest), a matrix *_feature_bc_matrix or spatial/ here or one level below "
                       "(visium), and *.h5ad (h5ad)",
                       path);
}

static Status detect(const char *path, Arena *arena, SourceLayout *out) {
    CountsFormat format = COUNTS_UNKNOWN;
    if (is_directory(path)) return detect_directory(path, arena, out);
    TRY(counts_detect(path, &format));
    if (format == COUNTS_H5AD) *out = SOURCE_H5AD;
    else if (format == COUNTS_ELUCIDATA) *out = SOURCE_ELUCIDATA;
    else
        return status_make(
            STATUS_UNSUPPORTED,
            "%s: it holds counts alone (%s) and says nothing of where the spots are; give the directory around it "
            "(with spatial/ or spots/)",
            path, counts_format_name(format));
    return STATUS_OK;
}

// ---- Opening --------------------------------------------------------------------------------------

Status source_items(Source *source, size_t count) {
    TRY(ARENA_NEW(&source->arena, source->section, count + 1));
    TRY(ARENA_NEW(&source->arena, source->inside->item, count + 1));
    source->count = count;
    return STATUS_OK;
}

static Status check_names(const Source *source) {
    Arena arena;
    NameIndex index;
    arena_init(&arena);
    Status status = name_index_init(&index, &arena, source->count + 1);
    for (size_t i = 0; i < source->count && status == STATUS_OK; i++)
        if (name_index_add(&index, source->section[i], (int64_t)i) >= 0)
            status = status_make(STATUS_MALFORMED, "%s: two sections are named %s", source->path, source->section[i]);
    arena_free(&arena);
    return status;
}

static Status open_source(Source *source, const char *path, const SourceOptions *options) {
    Arena *arena = &source->arena;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    TRY(ARENA_COPY(arena, source->path, path, length));
    if (!is_directory(path) && !file_exists(path))
        return status_make(STATUS_NOT_FOUND, "%s does not exist, or is neither a file nor a directory", path);
    TRY(ARENA_NEW(arena, source->inside, 1));
    if (options) source->options = *options;
    const char *base = path_base(source->path);
    source->inside->folder = is_directory(path)
                                 ? path_join(arena, source->path, "proportions")
                                 : arena_printf(arena, "%.*sproportions", (int)(base - source->path), source->path);
    if (!source->inside->folder) return arena_exhausted(1, 1);
    if (source->options.image) TRY(ARENA_COPY(arena, source->options.image, options->image, strlen(options->image)));
    if (source->options.layer) TRY(ARENA_COPY(arena, source->options.layer, options->layer, strlen(options->layer)));
    if (source->layout == SOURCE_AUTO) TRY(detect(source->path, arena, &source->layout));
    if (source->options.layer && source->layout != SOURCE_H5AD && source->layout != SOURCE_HEST)
        return status_make(STATUS_INVALID,
                           "%s: this layout (%s) has no layers; layer '%s' can be asked of AnnData files", path,
                           layouts[source->layout].name, source->options.layer);
    TRY(layouts[source->layout].methods->open(source));
    TRY(check_names(source));
    if (source->options.image && source->count != 1)
        return status_make(STATUS_INVALID, "%s: one picture (%s) for %zu sections; give a source of one section", path,
                           source->options.image, source->count);
    if (source->options.image && !file_exists(source->options.image))
        return status_make(STATUS_NOT_FOUND, "the picture %s does not exist", source->options.image);
    return STATUS_OK;
}

Status source_open(const char *path, SourceLayout layout, const SourceOptions *options, Source *out) {
    *out = (Source){.layout = layout};
    if ((unsigned)layout >= SOURCE_LAYOUTS) return status_make(STATUS_INVALID, "layout %d is none", (int)layout);
    Status status = open_source(out, path, options);
    if (status != STATUS_OK) source_close(out);
    return status;
}

void source_close(Source *source) {
    arena_free(&source->arena);
    *source = (Source){0};
}

// ---- Tables ---------------------------------------------------------------------------------------

static Status inner_tables(const Source *source, size_t section, Arena *arena, char ***out_names, size_t *out_count) {
    const SourceMethods *methods = layouts[source->layout].methods;
    *out_names = NULL;
    *out_count = 0;
    if (!methods->tables) return STATUS_OK;
    Status status = methods->tables(source, &source->inside->item[section], arena, out_names, out_count);
    return status_context(status, "section %s", source->section[section]);
}

static bool among(char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

Status source_tables(const Source *source, const size_t *sections, size_t count, Arena *arena, char ***out_names,
                     size_t *out_count) {
    char **names = NULL, **all = NULL, **files = NULL;
    size_t n = 0, n_files = 0;
    *out_names = NULL;
    *out_count = 0;
    TRY(ARENA_NEW(arena, names, count + 1));
    for (size_t i = 0; i < count; i++) {
        if (sections[i] >= source->count) return status_make(STATUS_INVALID, "there is no section %zu", sections[i]);
        names[i] = source->section[sections[i]];
    }
    if (count == 0) return STATUS_OK;
    TRY(spot_tables_list(source->inside->folder, names, count, arena, &files, &n_files));
    char **inner = NULL, **others = NULL;
    size_t n_inner = 0, n_others = 0;
    TRY(inner_tables(source, sections[0], arena, &inner, &n_inner));
    for (size_t i = 1; i < count && n_inner > 0; i++) {
        TRY(inner_tables(source, sections[i], arena, &others, &n_others));
        size_t kept = 0;
        for (size_t t = 0; t < n_inner; t++)
            if (among(others, n_others, inner[t])) inner[kept++] = inner[t];
        n_inner = kept;
    }
    TRY(ARENA_NEW(arena, all, n_files + n_inner + 1));
    for (size_t i = 0; i < n_files; i++) all[n++] = files[i];
    for (size_t i = 0; i < n_inner; i++) all[n++] = inner[i];
    qsort(all, n, sizeof *all, by_bytes);
    for (size_t i = 0; i < n; i++)
        if (*out_count == 0 || strcmp(all[*out_count - 1], all[i]) != 0) all[(*out_count)++] = all[i];
    *out_names = all;
    return STATUS_OK;
}

Status source_no_table(const Source *source, const SourceItem *item, const char *name) {
    Arena arena;
    char **names = NULL;
    size_t count = 0, section = (size_t)(item - source->inside->item);
    Text list = {0};
    arena_init(&arena);
    Status status = source_tables(source, &section, 1, &arena, &names, &count);
    for (size_t i = 0; i < count && i < 20; i++) text_printf(&list, "%s%s", i ? ", " : "", names[i]);
    if (count > 20) text_printf(&list, " ... (%zu in all)", count);
    if (status == STATUS_OK)
        status = status_make(STATUS_NOT_FOUND,
                             "there is no table '%s': neither %s/%s_%s.tsv nor .csv exists%s; the tables there are: %s",
                             name, source->inside->folder, source->section[section], name,
                             layouts[source->layout].methods->tables ? ", nor does the file itself hold it" : "",
                             count ? text_string(&list) : "none");
    text_free(&list);
    arena_free(&arena);
    return status;
}

// ---- Reading --------------------------------------------------------------------------------------

static Status read_section(const Source *source, size_t number, char *const *tables, size_t n_tables, Arena *scratch,
                           Section *s) {
    const SourceItem *item = &source->inside->item[number];
    char **file = NULL, **inner = NULL;
    size_t n_inner = 0;
    TRY(ARENA_NEW(scratch, file, n_tables + 1));
    TRY(ARENA_NEW(scratch, inner, n_tables + 1));
    for (size_t t = 0; t < n_tables; t++) {
        TRY(spot_tables_find(source->inside->folder, source->section[number], tables[t], scratch, &file[t]));
        if (file[t]) continue;
        if (!layouts[source->layout].methods->tables) return source_no_table(source, item, tables[t]);
        inner[n_inner++] = tables[t];
    }
    TRY(ARENA_COPY(&s->arena, s->name, source->section[number], strlen(source->section[number])));
    TRY(layouts[source->layout].methods->read(source, item, inner, n_inner, s));
    const SpotTable *from_item = s->tables;
    TRY(ARENA_NEW(&s->arena, s->tables, n_tables + 1));
    s->n_tables = 0;
    for (size_t t = 0, i = 0; t < n_tables; t++) {
        if (file[t]) {
            TRY(section_input(s, file[t]));
            TRY(spot_table_read(file[t], tables[t], s, &s->tables[t]));
        } else {
            s->tables[t] = from_item[i++];
        }
        s->n_tables++;
    }
    if (source->inside->extra_input) TRY(section_input(s, source->inside->extra_input));
    return STATUS_OK;
}

Status source_read(const Source *source, size_t section, char *const *tables, size_t n_tables, Section *out) {
    Arena scratch;
    *out = (Section){0};
    if (section >= source->count)
        return status_make(STATUS_INVALID, "%s: there is no section %zu; it has %zu", source->path, section,
                           source->count);
    arena_init(&scratch);
    Status status = read_section(source, section, tables, n_tables, &scratch, out);
    arena_free(&scratch);
    if (status == STATUS_OK) return STATUS_OK;
    section_free(out);
    return status_context(status, "section %s", source->section[section]);
}
