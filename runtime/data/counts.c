// counts: see counts.h. What a path is decides who reads it; HDF5 files are told apart inside the guarded child.
#include "counts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "annotated_share.h"
#include "counts_inside.h"
#include "hest.h"
#include "legacy_st.h"
#include "lines.h"
#include "positions.h"

enum { MOST_THREADS = 16 };
static const char *const what_is_read =
    "counts are read from 10x HDF5 and matrix directories, Space Ranger outs, AnnData .h5ad, legacy ST directories and "
    "tables, HEST-1k trees and Elucidata HDF5 files";

const char *counts_format_name(CountsFormat format) {
    switch (format) {
    case COUNTS_UNKNOWN: break;
    case COUNTS_10X_V2: return "10x HDF5 v2";
    case COUNTS_10X_V3: return "10x HDF5 v3";
    case COUNTS_MEX: return "10x matrix directory";
    case COUNTS_OUTS: return "Space Ranger directory";
    case COUNTS_H5AD: return "AnnData h5ad";
    case COUNTS_LEGACY_ST: return "legacy ST directory";
    case COUNTS_TEXT: return "text table of counts";
    case COUNTS_HEST: return "HEST-1k tree";
    case COUNTS_ELUCIDATA: return "Elucidata HDF5";
    }
    return "unknown";
}

// ---- What it is ---------------------------------------------------------------------------------

static bool below(const char *directory, const char *name) {
    Arena arena;
    arena_init(&arena);
    char *path = path_join(&arena, directory, name);
    bool there = path && (file_exists(path) || is_directory(path));
    arena_free(&arena);
    return there;
}

static bool directory_below(const char *directory, const char *name) {
    Arena arena;
    arena_init(&arena);
    char *path = path_join(&arena, directory, name);
    bool there = path && is_directory(path);
    arena_free(&arena);
    return there;
}

static Status detect_directory(const char *path, CountsFormat *out) {
    char **names = NULL;
    size_t count = 0;
    Arena arena;
    arena_init(&arena);
    Status status = directory_list(path, &arena, &names, &count);
    bool table = false, tenx = false;
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        table = table || (strncmp(names[i], "HEST_v", 6) == 0 && string_ends_with(names[i], ".csv"));
        tenx = tenx || strstr(names[i], "feature_bc_matrix") != NULL;
    }
    arena_free(&arena);
    TRY(status);
    if (below(path, "matrix.mtx") || below(path, "matrix.mtx.gz")) *out = COUNTS_MEX;
    else if (directory_below(path, "counts") && directory_below(path, "spots")) *out = COUNTS_LEGACY_ST;
    else if (table || directory_below(path, "st") || directory_below(path, "patches")) *out = COUNTS_HEST;
    else if (tenx || directory_below(path, "spatial")) *out = COUNTS_OUTS;
    else
        return status_make(STATUS_UNSUPPORTED, "%s: no counts were recognised in this directory; %s", path,
                           what_is_read);
    return STATUS_OK;
}

static Status detect_hdf5(const ForeignFile *f, Arena *arena, CountsFormat *out) {
    ForeignKind matrix, obs, var, img, slides = FOREIGN_NOTHING;
    char **names = NULL;
    size_t count = 0;
    TRY(foreign_kind(f, f->file, "matrix", &matrix));
    TRY(foreign_kind(f, f->file, "obs", &obs));
    TRY(foreign_kind(f, f->file, "var", &var));
    TRY(foreign_kind(f, f->file, "img", &img));
    static const char *const elucidata[] = {"spots/Train", "spots/Test", "images/Train", "images/Test"};
    for (int i = 0; i < 4 && slides == FOREIGN_NOTHING; i++) TRY(foreign_kind(f, f->file, elucidata[i], &slides));
    *out = matrix == FOREIGN_GROUP                            ? COUNTS_10X_V3
           : obs != FOREIGN_NOTHING && var != FOREIGN_NOTHING ? COUNTS_H5AD
           : slides == FOREIGN_GROUP                          ? COUNTS_ELUCIDATA
                                                              : COUNTS_UNKNOWN;
    if (*out != COUNTS_UNKNOWN) return STATUS_OK;
    if (img == FOREIGN_DATASET)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: these are patches of HEST-1k, not counts; give the directory above, or "
                           "st/ID.h5ad",
                           f->path);
    TRY(foreign_groups_with(f, "barcodes", arena, &names, &count));
    if (count) *out = COUNTS_10X_V2;
    if (*out != COUNTS_UNKNOWN) return STATUS_OK;
    TRY(foreign_names(f, f->file, "/", arena, &names, &count));
    Text list = {0};
    for (size_t i = 0; i < count && i < 8; i++) text_printf(&list, "%s%s", i ? ", " : "", names[i]);
    Status status =
        status_make(STATUS_UNSUPPORTED, "%s: an HDF5 file without counts that are known here (it holds: %s); %s",
                    f->path, count ? text_string(&list) : "nothing", what_is_read);
    text_free(&list);
    return status;
}

typedef enum FileKind { FILE_HDF5, FILE_TEXT } FileKind;

static Status detect_file(const char *path, FileKind *out) {
    uint64_t bytes = 0;
    unsigned char magic[8] = {0};
    size_t got = 0;
    TRY(file_head(path, magic, sizeof magic, &got, &bytes));
    if (got == 0) return status_make(STATUS_MALFORMED, "%s: the file is empty or cannot be read", path);
    if (got == 8 && memcmp(magic, "\x89HDF\r\n\x1a\n", 8) == 0) {
        *out = FILE_HDF5;
        return STATUS_OK;
    }
    if (strstr(path_base(path), "matrix.mtx"))
        return status_make(STATUS_INVALID, "%s: give the directory it is in, with barcodes.tsv and features.tsv", path);
    LineReader *reader = NULL;
    char *line = NULL;
    size_t length = 0;
    TRY(lines_open(path, &reader));
    Status status = lines_next(reader, &line, &length);
    bool csv = string_ends_with(path, ".csv") || string_ends_with(path, ".csv.gz");
    bool table = status == STATUS_OK && line && strchr(line, csv ? ',' : '\t') != NULL;
    bool damaged_hdf5 = got >= 4 && memcmp(magic, "\x89HDF", 4) == 0;
    lines_close(reader);
    if (!table || damaged_hdf5) {
        status_drop(status);
        if (damaged_hdf5 || string_ends_with(path, ".h5") || string_ends_with(path, ".h5ad"))
            return status_make(STATUS_MALFORMED, "%s: not an HDF5 file, or its header is damaged; copy it again", path);
        return status_make(STATUS_UNSUPPORTED, "%s: neither HDF5 nor a table of counts; %s", path, what_is_read);
    }
    *out = FILE_TEXT;
    return status;
}

// ---- HDF5, in the child -------------------------------------------------------------------------

typedef struct Job {
    const char *path;
    const CountsOptions *options;
    bool detect_only;
} Job;

static Status read_hdf5(const Job *job, const ForeignFile *f, Pool *pool, GuardBlock *block, Annotated *a) {
    MatrixReader reader = {f, block, pool, &a->arena, true};
    CountsFormat format = COUNTS_UNKNOWN;
    TRY(detect_hdf5(f, &a->arena, &format));
    if (job->detect_only) {
        CountsFormat *result = GUARD_NEW(block, CountsFormat, 1);
        if (!result) return guard_exhausted(block, job->path, 1, sizeof *result);
        *result = format;
        block->result = result;
        return STATUS_OK;
    }
    if (format == COUNTS_H5AD) TRY(h5ad_read(&reader, job->options, a));
    else if (format == COUNTS_ELUCIDATA) TRY(compound_read(&reader, job->options, a));
    else TRY(tenx_h5_read(&reader, job->options, a));
    return annotated_share(job->path, a, block);
}

static Status hdf5_work(void *context, GuardBlock *block) {
    const Job *job = context;
    ForeignFile file;
    Pool *pool = NULL;
    Annotated annotated = {0};
    int threads = job->options && job->options->threads > 0 ? job->options->threads : usable_threads();
    TRY(foreign_open(job->path, &file));
    arena_init(&annotated.arena);
    Status status = job->detect_only ? STATUS_OK : pool_new(threads < MOST_THREADS ? threads : MOST_THREADS, &pool);
    file.block = block;
    file.pool = pool;
    if (status == STATUS_OK) status = read_hdf5(job, &file, pool, block, &annotated);
    pool_free(pool);
    arena_free(&annotated.arena); // the matrices stand in the block
    foreign_close(&file);
    return status;
}

static int threads_for(const CountsOptions *o) {
    int threads = o && o->threads > 0 ? o->threads : usable_threads();
    return threads < MOST_THREADS ? threads : MOST_THREADS;
}

// What the child has located is decoded here (h5_sparse.h).
static Status finish(const char *path, const CountsOptions *o, const GuardBlock *block, Annotated *a, Matrix *m,
                     const char *name) {
    size_t repeats = 0;
    TRY(matrix_finish(path, block, guard_seconds(path, o->limits), threads_for(o), m, &repeats));
    if (repeats == 0) return STATUS_OK;
    return annotated_note(a, "%s: %zu entries shared their place with another and were added to it", name, repeats);
}

static Status read_guarded(const char *path, const CountsOptions *o, Annotated *out) {
    Job job = {path, o, false};
    GuardBlock block;
    TRY(guard_run(path, o->limits, hdf5_work, &job, &block));
    const GuardBlock held = block; // by the Annotated from now on
    TRY(annotated_receive(path, &block, out));
    TRY(finish(path, o, &held, out, &out->x, o->layer ? o->layer : "X"));
    for (size_t i = 0; i < out->n_layers; i++)
        TRY(finish(path, o, &held, out, &out->layer[i].matrix, out->layer[i].name));
    return STATUS_OK;
}

Status counts_detect(const char *path, CountsFormat *out) {
    *out = COUNTS_UNKNOWN;
    if (is_directory(path)) return detect_directory(path, out);
    FileKind kind;
    TRY(detect_file(path, &kind));
    if (kind == FILE_TEXT) {
        *out = COUNTS_TEXT;
        return STATUS_OK;
    }
    Job job = {path, NULL, true};
    GuardBlock block;
    TRY(guard_run(path, (GuardLimits){0}, hdf5_work, &job, &block));
    const CountsFormat *result = block.result;
    bool sound = result && guard_holds(&block, result, 1, sizeof *result) && *result > COUNTS_UNKNOWN &&
                 *result <= COUNTS_ELUCIDATA;
    if (sound) *out = *result;
    guard_block_free(&block);
    return sound ? STATUS_OK
                 : status_make(STATUS_MALFORMED, "%s: reading it went astray; copy or download it again", path);
}

// ---- Directories --------------------------------------------------------------------------------

static Status copy_section(const Section *s, const CountsOptions *o, Annotated *a) {
    Matrix *m = &a->x;
    Arena *arena = &a->arena;
    size_t nnz = (size_t)s->indptr[s->n_spots];
    char **names = NULL;
    Picked picked;
    Frame var = {.rows = s->n_genes};
    Matrix all = {0}, some = {0};
    TRY(ARENA_NEW(arena, names, s->n_genes + 1));
    for (size_t g = 0; g < s->n_genes; g++) TRY(ARENA_COPY(arena, names[g], s->genes[g], strlen(s->genes[g])));
    TRY(pick_columns(s->name, o, names, NULL, NULL, s->n_genes, a, &picked));
    TRY(matrix_create(s->n_spots, s->n_genes, (int64_t)nnz, &all));
    memcpy(all.start, s->indptr, (s->n_spots + 1) * sizeof *all.start);
    memcpy(all.column, s->indices, nnz * sizeof *all.column);
    for (size_t e = 0; e < nnz; e++) all.value[e] = (float)s->counts[e];
    if (picked.all) *m = all;
    else {
        Status status = matrix_select(&all, NULL, 0, picked.file_column, picked.count, &some);
        matrix_free(&all);
        TRY(status);
        *m = some;
    }
    a->has_x = true;
    a->obs.rows = s->n_spots;
    TRY(ARENA_NEW(arena, m->row_name, s->n_spots + 1));
    for (size_t i = 0; i < s->n_spots; i++) TRY(ARENA_COPY(arena, m->row_name[i], s->ids[i], strlen(s->ids[i])));
    TRY(place_columns(&picked, names, NULL, &var, a));
    Column row = {.name = "array_row", .kind = COLUMN_INTEGER}, column = {.name = "array_col", .kind = COLUMN_INTEGER};
    TRY(ARENA_NEW(arena, row.integer, s->n_spots + 1));
    TRY(ARENA_NEW(arena, column.integer, s->n_spots + 1));
    TRY(ARENA_NEW(arena, a->embedding, 1));
    a->embedding[0] = (Embedding){.name = "spatial", .width = 2};
    TRY(ARENA_NEW(arena, a->embedding[0].value, 2 * s->n_spots + 1));
    for (size_t i = 0; i < s->n_spots; i++) {
        column.integer[i] = s->array[2 * i];
        row.integer[i] = s->array[2 * i + 1];
        memcpy(a->embedding[0].value + 2 * i, s->pixel + 2 * i, 2 * sizeof *s->pixel);
    }
    a->n_embeddings = 1;
    TRY(frame_add(&a->obs, arena, &row));
    TRY(frame_add(&a->obs, arena, &column));
    a->joined = s->n_spots;
    a->not_joined = s->n_without_counts;
    if (s->n_without_counts) TRY(annotated_note(a, "%zu positions under tissue have no counts", s->n_without_counts));
    if (s->n_not_selected) TRY(annotated_note(a, "%zu positions are not selected", s->n_not_selected));
    a->source = arena_printf(arena, "legacy ST, section %s", s->name);
    return a->source ? STATUS_OK : arena_exhausted(1, 64);
}

// The one of `names` that is asked for, or the only one.
static Status choose(const char *path, const char *what, char *const *names, size_t count, const char *wanted,
                     const char **out) {
    Text list = {0};
    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        if (i < 12) text_printf(&list, "%s%s", i ? ", " : "", names[i]);
        if (!wanted ? count == 1 : strcmp(names[i], wanted) == 0) *out = names[i];
    }
    if (count > 12) text_printf(&list, ", ... (%zu in all)", count);
    Status status = STATUS_OK;
    if (!*out && wanted)
        status = status_make(STATUS_NOT_FOUND, "%s: there is no %s '%s'; there are %s", path, what, wanted,
                             text_string(&list));
    else if (!*out) status = status_make(STATUS_INVALID, "%s: name the %s to read: %s", path, what, text_string(&list));
    text_free(&list);
    return status;
}

static Status read_legacy(const char *path, const CountsOptions *o, Annotated *a) {
    char **names = NULL;
    const char *name = NULL;
    size_t count = 0;
    Section section;
    TRY(legacy_st_sections(path, &a->arena, &names, &count));
    TRY(choose(path, "section", names, count, o->section, &name));
    TRY(legacy_st_read(path, name, NULL, 0, &section));
    Status status = copy_section(&section, o, a);
    section_free(&section);
    return status;
}

static Status read_hest(const char *path, const CountsOptions *o, Annotated *out) {
    HestTree tree;
    TRY(hest_open(path, &tree));
    char **names = NULL;
    const char *name = NULL, *file = NULL;
    size_t count = 0;
    Status status = ARENA_NEW(&tree.arena, names, tree.count + 1);
    for (size_t i = 0; status == STATUS_OK && i < tree.count; i++)
        if (tree.sample[i].has_counts) names[count++] = tree.sample[i].id;
    if (status == STATUS_OK && count == 0)
        status = status_make(STATUS_NOT_FOUND, "%s: no st/ID.h5ad in this tree", path);
    if (status == STATUS_OK) status = choose(path, "sample", names, count, o->section, &name);
    if (status == STATUS_OK && !(file = arena_printf(&tree.arena, "%s/st/%s.h5ad", path, name)))
        status = arena_exhausted(1, 1);
    if (status == STATUS_OK) status = read_guarded(file, o, out);
    hest_free(&tree);
    return status;
}

Status counts_find_matrix(const char *path, Arena *arena, char **out, bool *out_directory) {
    static const char *const endings[] = {"filtered_feature_bc_matrix.h5", "filtered_feature_bc_matrix",
                                          "raw_feature_bc_matrix.h5", "raw_feature_bc_matrix"};
    char **names = NULL;
    size_t count = 0;
    TRY(directory_list(path, arena, &names, &count));
    for (int e = 0; e < 4; e++)
        for (int prefix = 0; prefix < 2; prefix++)
            for (size_t i = 0; i < count; i++) {
                if (prefix ? !string_ends_with(names[i], endings[e]) : strcmp(names[i], endings[e]) != 0) continue;
                if (!(*out = path_join(arena, path, names[i]))) return arena_exhausted(1, 1);
                *out_directory = is_directory(*out);
                return STATUS_OK;
            }
    return status_make(STATUS_NOT_FOUND,
                       "%s: neither filtered_feature_bc_matrix nor raw_feature_bc_matrix (.h5 or "
                       "directory) is in it",
                       path);
}

static Status load_picture(const char *directory, const char *name, Arena *arena, Annotated *a, Picture *out) {
    char *path = arena_printf(arena, "%s/%s", directory, name);
    if (!path) return arena_exhausted(1, 1);
    if (!file_exists(path)) return STATUS_OK;
    Status status = image_load(path, (size_t)1 << 30, out);
    if (status == STATUS_OK || status_code(status) == STATUS_NO_MEMORY) return status;
    Status noted = annotated_note(a, "picture left out: %s", status_message(status));
    status_drop(status);
    return noted;
}

static Status add_space(const char *path, const CountsOptions *o, Arena *arena, Annotated *a) {
    SpotPositions positions = {0};
    ScaleFactors f;
    char *positions_path = NULL, *spatial = path_join(arena, path, "spatial");
    if (!spatial) return arena_exhausted(1, 1);
    if (!is_directory(spatial)) spatial = (char *)path;
    TRY(positions_find(path, arena, &positions_path));
    if (!positions_path) return annotated_note(a, "there are no positions beside the counts");
    TRY(positions_read(positions_path, &positions));
    Status status = positions_join(&positions, positions_path, a);
    positions_free(&positions);
    TRY(status);
    char *scales = path_join(arena, spatial, "scalefactors_json.json");
    if (!scales) return arena_exhausted(1, 1);
    if (!file_exists(scales)) return STATUS_OK;
    TRY(scale_factors_read(scales, &f));
    TRY(ARENA_NEW(&a->arena, a->library, 1));
    SpatialLibrary *l = &a->library[0];
    *l = (SpatialLibrary){.has_scale = true,
                          .spot_diameter_fullres = f.spot_diameter_fullres,
                          .tissue_hires_scalef = f.tissue_hires_scalef,
                          .tissue_lowres_scalef = f.tissue_lowres_scalef,
                          .fiducial_diameter_fullres = f.fiducial_diameter_fullres};
    const char *name = path_base(path);
    TRY(ARENA_COPY(&a->arena, l->name, *name ? name : "section", strlen(*name ? name : "section")));
    a->n_libraries = 1;
    if (!o->pictures) return STATUS_OK;
    TRY(load_picture(spatial, "tissue_hires_image.png", arena, a, &l->hires));
    return load_picture(spatial, "tissue_lowres_image.png", arena, a, &l->lowres);
}

static Status read_outs(const char *path, const CountsOptions *o, Annotated *a) {
    Arena arena;
    char *matrix = NULL;
    bool directory = false;
    arena_init(&arena);
    Status status = counts_find_matrix(path, &arena, &matrix, &directory);
    if (status == STATUS_OK && directory) status = mex_read(matrix, o, a);
    else if (status == STATUS_OK) status = read_guarded(matrix, o, a);
    if (status == STATUS_OK && !o->only_x) status = add_space(path, o, &arena, a);
    arena_free(&arena);
    return status;
}

// ---- The door -----------------------------------------------------------------------------------

Status counts_read(const char *path, const CountsOptions *options, Annotated *out) {
    static const CountsOptions none = {0};
    const CountsOptions *o = options ? options : &none;
    CountsFormat format = COUNTS_UNKNOWN;
    FileKind kind = FILE_HDF5;
    *out = (Annotated){0};
    arena_init(&out->arena);
    Status status = is_directory(path) ? detect_directory(path, &format) : detect_file(path, &kind);
    if (status != STATUS_OK) return status;
    if (format == COUNTS_MEX) status = mex_read(path, o, out);
    else if (format == COUNTS_LEGACY_ST) status = read_legacy(path, o, out);
    else if (format == COUNTS_HEST) status = read_hest(path, o, out);
    else if (format == COUNTS_OUTS) status = read_outs(path, o, out);
    else if (kind == FILE_TEXT) status = text_counts_read(path, o, out);
    else status = read_guarded(path, o, out);
    if (status != STATUS_OK) annotated_free(out);
    return status;
}
