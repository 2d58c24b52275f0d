// tenx_h5: feature-barcode matrices of Cell Ranger and Space Ranger in HDF5. Stored as compressed columns of features x
// barcodes, which read unchanged are the compressed rows that a Matrix wants.
//
// Version 3: group `matrix` with barcodes, data, indices, indptr, shape and features/{id,name,feature_type,genome};
// probe-level files add gene_id, filtered_probes and filtered_barcodes. Version 2: one such group per genome, with
// `genes` and `gene_names` instead of features.
#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "counts_inside.h"
#include "h5.h"
#include "h5_numbers.h"

typedef struct Features {
    char **name, **id;
    uint8_t *allowed; // NULL: all
    size_t count;
    Frame var;
} Features;

static Status read_shape(const MatrixReader *r, hid_t group, size_t *out_features, size_t *out_barcodes) {
    int64_t *shape = NULL;
    size_t count = 0;
    TRY(numbers_load_i64(r->f, group, "shape", &shape, &count));
    Status status = STATUS_OK;
    if (count != 2 || shape[0] < 0 || shape[1] < 0 || shape[0] > INT32_MAX || shape[1] > INT32_MAX)
        status = foreign_error(r->f, group, "'shape' must be two counts: features and barcodes");
    else *out_features = (size_t)shape[0], *out_barcodes = (size_t)shape[1];
    free(shape);
    return status;
}

static Status texts_of(const MatrixReader *r, hid_t group, const char *name, size_t wanted, Arena *arena,
                       char ***out_texts) {
    size_t count = 0;
    TRY(foreign_texts(r->f, group, name, arena, out_texts, &count));
    if (count == wanted) return STATUS_OK;
    return foreign_error(r->f, group, "'%s' has %zu entries; the shape says %zu", name, count, wanted);
}

// An optional column of features or barcodes as a column of the frame: text, or h5py's booleans.
static Status add_column(const MatrixReader *r, hid_t group, const char *name, const char *as, size_t rows,
                         Arena *arena, Frame *frame) {
    ForeignKind kind;
    TRY(foreign_kind(r->f, group, name, &kind));
    if (kind != FOREIGN_DATASET) return STATUS_OK;
    hid_t dataset = H5Dopen2(group, name, H5P_DEFAULT), type = dataset < 0 ? -1 : H5Dget_type(dataset);
    H5T_class_t type_class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    h5_close(type);
    h5_close(dataset);
    Column column = {.name = (char *)as};
    if (type_class == H5T_STRING) {
        column.kind = COLUMN_TEXT;
        TRY(texts_of(r, group, name, rows, arena, &column.text));
    } else if (type_class == H5T_ENUM) {
        int64_t *values = NULL;
        size_t count = 0;
        TRY(numbers_load_i64(r->f, group, name, &values, &count));
        Status status = ARENA_NEW(arena, column.flag, rows + 1);
        if (status == STATUS_OK && count != rows)
            status = foreign_error(r->f, group, "'%s' has %zu entries; the shape says %zu", name, count, rows);
        for (size_t i = 0; status == STATUS_OK && i < rows; i++) column.flag[i] = values[i] != 0;
        free(values);
        column.kind = COLUMN_BOOL;
        TRY(status);
    } else {
        return STATUS_OK;
    }
    return frame_add(frame, arena, &column);
}

static Status read_features(const MatrixReader *r, const CountsOptions *o, hid_t matrix, size_t count, Arena *arena,
                            Features *out) {
    hid_t group = -1;
    TRY(foreign_group(r->f, matrix, "features", &group));
    if (group < 0) return foreign_error(r->f, matrix, "the group 'features' is missing");
    char **type = NULL, **genome = NULL;
    ForeignKind probe;
    Status status = STATUS_OK;
    const char *wanted = o->feature_type ? o->feature_type : "Gene Expression";
    size_t kept = 0;
    out->count = out->var.rows = count;
    TRY_OR(status, done, texts_of(r, group, "name", count, arena, &out->name));
    TRY_OR(status, done, foreign_kind(r->f, group, "gene_id", &probe));
    TRY_OR(status, done, texts_of(r, group, probe == FOREIGN_DATASET ? "gene_id" : "id", count, arena, &out->id));
    TRY_OR(status, done, texts_of(r, group, "feature_type", count, arena, &type));
    if (o->genome) TRY_OR(status, done, texts_of(r, group, "genome", count, arena, &genome));
    TRY_OR(status, done, ARENA_NEW(arena, out->allowed, count + 1));
    for (size_t i = 0; i < count; i++) {
        bool keep = strcmp(wanted, "*") == 0 || strcmp(type[i], wanted) == 0;
        out->allowed[i] = keep && (!genome || strcmp(genome[i], o->genome) == 0);
        kept += out->allowed[i];
    }
    if (kept == 0 && count > 0) {
        status = foreign_error(r->f, group, "no feature of type '%s'%s%s; the first is of type '%s'", wanted,
                               o->genome ? " and genome " : "", o->genome ? o->genome : "", type[0]);
        goto done;
    }
    if (o->only_x) goto done;
    Column types = column_of_texts("feature_types", type), ids = column_of_texts("gene_ids", out->id);
    TRY_OR(status, done, frame_add(&out->var, arena, &ids));
    TRY_OR(status, done, frame_add(&out->var, arena, &types));
    TRY_OR(status, done, add_column(r, group, "genome", "genome", count, arena, &out->var));
    if (probe != FOREIGN_DATASET) goto done;
    TRY_OR(status, done, add_column(r, group, "id", "probe_ids", count, arena, &out->var));
    TRY_OR(status, done, add_column(r, group, "gene_name", "gene_name", count, arena, &out->var));
    TRY_OR(status, done, add_column(r, group, "probe_region", "probe_region", count, arena, &out->var));
    status = add_column(r, group, "filtered_probes", "filtered_probes", count, arena, &out->var);
done:
    h5_close(group);
    return status;
}

static Status read_group(const MatrixReader *r, const CountsOptions *o, const char *name, bool old, Annotated *a) {
    hid_t group = -1;
    size_t features = 0, barcodes = 0;
    Features of = {0};
    Picked picked;
    Status status = STATUS_OK;
    TRY(foreign_group(r->f, r->f->file, name, &group));
    if (group < 0) return foreign_error(r->f, r->f->file, "the group '%s' is missing", name);
    TRY_OR(status, done, read_shape(r, group, &features, &barcodes));
    char **rows = NULL;
    TRY_OR(status, done, texts_of(r, group, "barcodes", barcodes, &a->arena, &rows));
    if (old) {
        of.var.rows = features;
        TRY_OR(status, done, texts_of(r, group, "gene_names", features, &a->arena, &of.name));
        TRY_OR(status, done, texts_of(r, group, "genes", features, &a->arena, &of.id));
        Column ids = column_of_texts("gene_ids", of.id);
        if (!o->only_x) TRY_OR(status, done, frame_add(&of.var, &a->arena, &ids));
    } else {
        TRY_OR(status, done, read_features(r, o, group, features, &a->arena, &of));
    }
    TRY_OR(status, done, pick_columns(r->f->path, o, of.name, of.id, of.allowed, features, a, &picked));
    MatrixForm form = {.rows = barcodes, .columns = features};
    // The group is laid out as any compressed one; its own name is "." from inside.
    TRY_OR(status, done, sparse_read(r, r->f->file, name, &form, &picked.choice, &a->x));
    a->has_x = true;
    a->x.row_name = rows;
    a->obs.rows = barcodes;
    TRY_OR(status, done, place_columns(&picked, of.name, of.id, &of.var, a));
    if (!o->only_x && !old)
        TRY_OR(status, done,
               add_column(r, group, "filtered_barcodes", "filtered_barcodes", barcodes, &a->arena, &a->obs));
    size_t left_out = 0;
    for (size_t i = 0; of.allowed && i < features; i++) left_out += !of.allowed[i];
    if (left_out)
        TRY_OR(status, done,
               annotated_note(a, "%zu of %zu features are not of type '%s'%s%s and were left out", left_out, features,
                              o->feature_type ? o->feature_type : "Gene Expression", o->genome ? " and genome " : "",
                              o->genome ? o->genome : ""));
    if (form.repeats)
        status = annotated_note(a, "%zu entries shared their place with another and were added to it", form.repeats);
done:
    h5_close(group);
    return status;
}

// Version 2: the genome asked for, or the only one.
static Status choose_genome(const MatrixReader *r, const CountsOptions *o, Arena *arena, const char **out_name) {
    char **names = NULL;
    size_t genomes = 0;
    Text list = {0};
    Status status = STATUS_OK;
    TRY(foreign_groups_with(r->f, "barcodes", arena, &names, &genomes));
    *out_name = NULL;
    for (size_t i = 0; i < genomes; i++) {
        text_printf(&list, "%s%s", i ? ", " : "", names[i]);
        if (!o->genome || strcmp(o->genome, names[i]) == 0) *out_name = names[i];
    }
    if (genomes == 0)
        status = status_make(STATUS_MALFORMED, "%s: neither a group 'matrix' nor one with 'barcodes' for a genome",
                             r->f->path);
    else if (o->genome && !*out_name)
        status = status_make(STATUS_NOT_FOUND, "%s: there is no genome %s; it has %s", r->f->path, o->genome,
                             text_string(&list));
    else if (!o->genome && genomes > 1)
        status = status_make(STATUS_INVALID, "%s: it holds %zu genomes: %s; name the one to read", r->f->path, genomes,
                             text_string(&list));
    text_free(&list);
    return status;
}

Status tenx_h5_read(const MatrixReader *r, const CountsOptions *o, Annotated *a) {
    ForeignKind kind;
    const char *name = "matrix";
    TRY(foreign_kind(r->f, r->f->file, "matrix", &kind));
    bool old = kind != FOREIGN_GROUP;
    if (old) TRY(choose_genome(r, o, &a->arena, &name));
    TRY(read_group(r, o, name, old, a));
    a->source =
        old ? arena_printf(&a->arena, "10x HDF5 v2, genome %s", name)
            : arena_printf(&a->arena, frame_column(&a->var, "probe_ids") ? "10x HDF5 v3, probes" : "10x HDF5 v3");
    return a->source ? STATUS_OK : arena_exhausted(1, 64);
}
