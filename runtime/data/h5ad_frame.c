// h5ad_frame: the tables obs and var of AnnData files in all their encodings.
//
// Groups (since 0.7): one dataset or group per column; attribute `_index` names the index, `column-order` the columns.
// Categories: a group with codes and categories (0.8), or codes with a reference to __categories/NAME (0.7). Nullable
// columns: values and mask. Before 0.7: one compound table, its categories in uns/NAME_categories.
//
// Missing values: integers and booleans with missing ones become real (NaN); texts with missing ones become categories
// (-1). Columns of kinds that are not known are left out with a note.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "counts_inside.h"
#include "h5.h"
#include "h5_numbers.h"

typedef struct Here {
    const MatrixReader *r;
    Arena *arena;
    size_t rows;
    bool counted; // rows is known
    const char *frame;
    Annotated *notes;
} Here;

// The first column read says how long all must be.
static Status check_rows(Here *h, const char *name, size_t count) {
    if (!h->counted) {
        h->rows = count;
        h->counted = true;
    }
    if (count == h->rows) return STATUS_OK;
    return status_make(STATUS_MALFORMED, "%s: '%s/%s' has %zu entries where the table has %zu rows", h->r->f->path,
                       h->frame, name, count, h->rows);
}

static H5T_class_t class_of(hid_t parent, const char *name) {
    hid_t dataset = H5Dopen2(parent, name, H5P_DEFAULT), type = dataset < 0 ? -1 : H5Dget_type(dataset);
    H5T_class_t found = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    h5_close(type);
    h5_close(dataset);
    return found;
}

// Texts of a dataset of any kind: numbers are written out, as pandas would show them.
static Status any_texts(const Here *h, hid_t parent, const char *name, char ***out, size_t *out_count) {
    H5T_class_t found = class_of(parent, name);
    if (found == H5T_STRING) return foreign_texts(h->r->f, parent, name, h->arena, out, out_count);
    H5Numbers n;
    double *real = NULL;
    int64_t *integer = NULL;
    TRY(numbers_open(h->r->f, parent, name, &n));
    bool is_real = numbers_are_real(n.type);
    numbers_close(&n);
    Status status = is_real ? numbers_load_f64(h->r->f, parent, name, &real, out_count)
                            : numbers_load_i64(h->r->f, parent, name, &integer, out_count);
    if (status == STATUS_OK) status = ARENA_NEW(h->arena, *out, *out_count + 1);
    for (size_t i = 0; status == STATUS_OK && i < *out_count; i++) {
        char text[NUMBER_TEXT + 2];
        if (!is_real) snprintf(text, sizeof text, "%lld", (long long)integer[i]);
        else {
            size_t length = number_f64(real[i], text);
            if (strspn(text, "-0123456789") == length) strcpy(text + length, ".0");
        }
        if (found == H5T_ENUM) strcpy(text, integer[i] ? "True" : "False");
        status = ARENA_COPY(h->arena, (*out)[i], text, strlen(text));
    }
    free(real);
    free(integer);
    return status;
}

// codes and categories into a column.
static Status categories_column(Here *h, const char *name, hid_t codes_at, const char *codes_name, char **category,
                                size_t categories, bool ordered, Column *out) {
    int64_t *codes = NULL;
    size_t count = 0;
    TRY(numbers_load_i64(h->r->f, codes_at, codes_name, &codes, &count));
    Status status = check_rows(h, name, count);
    if (status == STATUS_OK && categories > INT32_MAX)
        status = status_make(STATUS_MALFORMED, "%s: '%s' has %zu categories", h->r->f->path, name, categories);
    if (status == STATUS_OK) status = ARENA_NEW(h->arena, out->code, count + 1);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        if (codes[i] < -1 || codes[i] >= (int64_t)categories)
            status = status_make(STATUS_MALFORMED, "%s: '%s/%s', row %zu: category %lld of %zu", h->r->f->path,
                                 h->frame, name, i, (long long)codes[i], categories);
        else out->code[i] = (int32_t)codes[i];
    }
    free(codes);
    out->kind = COLUMN_CATEGORY;
    out->category = category;
    out->categories = categories;
    out->ordered = ordered;
    return status;
}

static bool is_ordered(hid_t object) {
    bool ordered = false;
    if (!foreign_has_attribute(object, "ordered")) return false;
    hid_t attribute = H5Aopen(object, "ordered", H5P_DEFAULT), type = attribute < 0 ? -1 : H5Aget_type(attribute);
    hid_t space = attribute < 0 ? -1 : H5Aget_space(attribute);
    unsigned char value[16] = {0};
    if (type >= 0 && space >= 0 && H5Tget_size(type) <= sizeof value && H5Sget_simple_extent_npoints(space) == 1 &&
        (H5Tget_class(type) == H5T_ENUM || H5Tget_class(type) == H5T_INTEGER) && H5Aread(attribute, type, value) >= 0)
        for (size_t i = 0; i < sizeof value; i++) ordered = ordered || value[i];
    h5_close(space);
    h5_close(type);
    h5_close(attribute);
    return ordered;
}

// ---- Columns in groups --------------------------------------------------------------------------

static Status group_categories(Here *h, hid_t column, const char *name, Column *out) {
    char **category = NULL;
    size_t count = 0;
    TRY(any_texts(h, column, "categories", &category, &count));
    return categories_column(h, name, column, "codes", category, count, is_ordered(column), out);
}

// values and mask: 1 is missing.
static Status nullable(Here *h, hid_t column, const char *name, Column *out) {
    int64_t *mask = NULL;
    size_t masks = 0, count = 0, missing = 0;
    double *real = NULL;
    int64_t *integer = NULL;
    char **text = NULL;
    H5T_class_t found = class_of(column, "values");
    ForeignKind has_mask;
    TRY(foreign_kind(h->r->f, column, "mask", &has_mask));
    if (has_mask == FOREIGN_DATASET) TRY(numbers_load_i64(h->r->f, column, "mask", &mask, &masks));
    Status status = STATUS_OK;
    if (found == H5T_STRING) status = foreign_texts(h->r->f, column, "values", h->arena, &text, &count);
    else if (found == H5T_FLOAT) status = numbers_load_f64(h->r->f, column, "values", &real, &count);
    else status = numbers_load_i64(h->r->f, column, "values", &integer, &count);
    if (status == STATUS_OK) status = check_rows(h, name, count);
    if (status == STATUS_OK && mask && masks != count) status = check_rows(h, name, masks);
    for (size_t i = 0; mask && status == STATUS_OK && i < count; i++) missing += mask[i] != 0;
    if (status != STATUS_OK) goto done;
    if (text && missing == 0) {
        *out = column_of_texts(out->name, text);
    } else if (text) { // each its own category, in the order of first use
        NameIndex index;
        TRY_OR(status, done, name_index_init(&index, h->arena, count + 1));
        TRY_OR(status, done, ARENA_NEW(h->arena, out->code, count + 1));
        TRY_OR(status, done, ARENA_NEW(h->arena, out->category, count + 1));
        out->kind = COLUMN_CATEGORY;
        for (size_t i = 0; i < count; i++) {
            out->code[i] = -1;
            if (mask[i]) continue;
            int64_t before = name_index_add(&index, text[i], (int64_t)out->categories);
            out->code[i] = (int32_t)(before >= 0 ? before : (int64_t)out->categories);
            if (before < 0) out->category[out->categories++] = text[i];
        }
    } else if (real || missing) {
        out->kind = COLUMN_REAL;
        TRY_OR(status, done, ARENA_NEW(h->arena, out->real, count + 1));
        for (size_t i = 0; i < count; i++) out->real[i] = mask && mask[i] ? NAN : real ? real[i] : (double)integer[i];
    } else if (found == H5T_ENUM) {
        out->kind = COLUMN_BOOL;
        TRY_OR(status, done, ARENA_NEW(h->arena, out->flag, count + 1));
        for (size_t i = 0; i < count; i++) out->flag[i] = integer[i] != 0;
    } else {
        out->kind = COLUMN_INTEGER;
        TRY_OR(status, done, ARENA_NEW(h->arena, out->integer, count + 1));
        memcpy(out->integer, integer, count * sizeof *integer);
    }
    if (missing && !text)
        status = annotated_note(h->notes, "%s column '%s': %zu missing values became NaN", h->frame, name, missing);
done:
    free(mask);
    free(real);
    free(integer);
    return status;
}

// Codes of 0.7: the dataset's attribute `categories` refers to the dataset with the texts, which h5py puts below
// __categories under the same name.
static Status old_categories(Here *h, hid_t frame, const char *name, Column *out, bool *out_done) {
    hid_t group = -1, dataset = -1;
    ForeignKind kind = FOREIGN_NOTHING;
    *out_done = false;
    TRY(foreign_group(h->r->f, frame, "__categories", &group));
    if (group < 0) return STATUS_OK;
    Status status = foreign_kind(h->r->f, group, name, &kind);
    if (status == STATUS_OK && kind == FOREIGN_DATASET) {
        char **category = NULL;
        size_t count = 0;
        status = any_texts(h, group, name, &category, &count);
        dataset = status == STATUS_OK ? H5Dopen2(group, name, H5P_DEFAULT) : -1;
        if (status == STATUS_OK)
            status = categories_column(h, name, frame, name, category, count, dataset >= 0 && is_ordered(dataset), out);
        *out_done = true;
    }
    h5_close(dataset);
    h5_close(group);
    return status;
}

static Status plain_column(Here *h, hid_t frame, const char *name, Column *out) {
    size_t count = 0;
    H5T_class_t found = class_of(frame, name);
    if (found == H5T_STRING) {
        out->kind = COLUMN_TEXT;
        TRY(foreign_texts(h->r->f, frame, name, h->arena, &out->text, &count));
        return check_rows(h, name, count);
    }
    double *real = NULL;
    int64_t *integer = NULL;
    Status status = found == H5T_FLOAT ? numbers_load_f64(h->r->f, frame, name, &real, &count)
                                       : numbers_load_i64(h->r->f, frame, name, &integer, &count);
    if (status == STATUS_OK) status = check_rows(h, name, count);
    if (status == STATUS_OK && real) {
        out->kind = COLUMN_REAL;
        status = ARENA_NEW(h->arena, out->real, count + 1);
        if (status == STATUS_OK) memcpy(out->real, real, count * sizeof *real);
    } else if (status == STATUS_OK && found == H5T_ENUM) {
        out->kind = COLUMN_BOOL;
        status = ARENA_NEW(h->arena, out->flag, count + 1);
        for (size_t i = 0; status == STATUS_OK && i < count; i++) out->flag[i] = integer[i] != 0;
    } else if (status == STATUS_OK) {
        out->kind = COLUMN_INTEGER;
        status = ARENA_NEW(h->arena, out->integer, count + 1);
        if (status == STATUS_OK) memcpy(out->integer, integer, count * sizeof *integer);
    }
    free(real);
    free(integer);
    return status;
}

static Status read_column(Here *h, hid_t frame, const char *name, Frame *out) {
    Column column = {0};
    ForeignKind kind;
    bool done = false;
    TRY(ARENA_COPY(h->arena, column.name, name, strlen(name)));
    TRY(foreign_kind(h->r->f, frame, name, &kind));
    if (kind == FOREIGN_DATASET) {
        TRY(old_categories(h, frame, name, &column, &done));
        H5T_class_t found = done ? H5T_NO_CLASS : class_of(frame, name);
        if (!done && found != H5T_STRING && found != H5T_FLOAT && found != H5T_INTEGER && found != H5T_ENUM)
            return annotated_note(h->notes, "%s column '%s' is of a kind that is not read", h->frame, name);
        if (!done) TRY(plain_column(h, frame, name, &column));
        return frame_add(out, h->arena, &column);
    }
    hid_t group = -1;
    if (kind == FOREIGN_GROUP) TRY(foreign_group(h->r->f, frame, name, &group));
    if (group < 0) return annotated_note(h->notes, "%s column '%s' is named but not there", h->frame, name);
    ForeignKind codes, values;
    Status status = foreign_kind(h->r->f, group, "codes", &codes);
    if (status == STATUS_OK) status = foreign_kind(h->r->f, group, "values", &values);
    if (status == STATUS_OK && codes == FOREIGN_DATASET) status = group_categories(h, group, name, &column);
    else if (status == STATUS_OK && values == FOREIGN_DATASET) status = nullable(h, group, name, &column);
    else if (status == STATUS_OK) {
        h5_close(group);
        return annotated_note(h->notes, "%s column '%s' is of a kind that is not read", h->frame, name);
    }
    if (status == STATUS_OK) status = frame_add(out, h->arena, &column);
    h5_close(group);
    return status;
}

// The names of the rows: a text dataset, or (since 0.12) a group with values.
static Status read_index(Here *h, hid_t frame, const char *name, char ***out) {
    ForeignKind kind;
    size_t count = 0;
    TRY(foreign_kind(h->r->f, frame, name, &kind));
    if (kind == FOREIGN_GROUP) {
        hid_t group = -1;
        TRY(foreign_group(h->r->f, frame, name, &group));
        Column column = {.name = (char *)name};
        ForeignKind codes;
        Status status = foreign_kind(h->r->f, group, "codes", &codes);
        if (status == STATUS_OK)
            status = codes == FOREIGN_DATASET ? group_categories(h, group, name, &column)
                                              : nullable(h, group, name, &column);
        h5_close(group);
        TRY(status);
        if (column.kind == COLUMN_TEXT) {
            *out = column.text;
            return STATUS_OK;
        }
        TRY(ARENA_NEW(h->arena, *out, h->rows + 1));
        if (column.kind != COLUMN_CATEGORY)
            return status_make(STATUS_UNSUPPORTED, "%s: the index '%s/%s' is of a kind that is not read", h->r->f->path,
                               h->frame, name);
        for (size_t i = 0; i < h->rows; i++) (*out)[i] = column.code[i] < 0 ? "nan" : column.category[column.code[i]];
        return STATUS_OK;
    }
    if (kind == FOREIGN_NOTHING)
        return status_make(STATUS_MALFORMED, "%s: '%s' has no index '%s'", h->r->f->path, h->frame, name);
    TRY(any_texts(h, frame, name, out, &count));
    return check_rows(h, name, count);
}

static Status read_group_frame(Here *h, hid_t group, bool columns_too, Frame *out, char ***out_index) {
    char *index = NULL, **order = NULL;
    size_t columns = 0;
    TRY(foreign_text_attribute(h->r->f, group, "_index", h->arena, &index));
    ForeignKind kind = FOREIGN_NOTHING;
    if (!index) {
        TRY(foreign_kind(h->r->f, group, "_index", &kind));
        index = kind == FOREIGN_NOTHING ? "index" : "_index";
    }
    TRY(ARENA_COPY(h->arena, out->index_name, index, strlen(index)));
    TRY(read_index(h, group, index, out_index));
    out->rows = h->rows;
    if (!columns_too) return STATUS_OK;
    if (foreign_has_attribute(group, "column-order")) {
        Status status = h5_get_texts(h->r->f->path, group, "column-order", h->arena, &order, &columns);
        if (status != STATUS_OK) { // empty tables have an order of numbers
            status_drop(status);
            order = NULL;
        }
    }
    if (!order) TRY(foreign_names(h->r->f, group, h->frame, h->arena, &order, &columns));
    for (size_t i = 0; i < columns; i++) {
        if (strcmp(order[i], index) == 0 || strcmp(order[i], "__categories") == 0 || !*order[i]) continue;
        TRY(read_column(h, group, order[i], out));
    }
    return STATUS_OK;
}

// ---- Compound tables of 2018 --------------------------------------------------------------------

// One field of all rows into values of `memory` type.
static Status read_field(const Here *h, hid_t table, const char *field, hid_t memory, void *values) {
    hid_t type = H5Tcreate(H5T_COMPOUND, H5Tget_size(memory));
    bool ok = type >= 0 && H5Tinsert(type, field, 0, memory) >= 0 &&
              H5Dread(table, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    h5_close(type);
    return ok ? STATUS_OK : h5_error(h->r->f->path, "reading field", field);
}

static Status field_texts(const Here *h, hid_t table, const char *field, hid_t type, char ***out) {
    size_t width = H5Tis_variable_str(type) > 0 ? sizeof(char *) : H5Tget_size(type);
    bool variable = H5Tis_variable_str(type) > 0;
    if (width == 0 || h->rows > ((size_t)1 << 32) / width) return arena_exhausted(h->rows, width);
    char *buffer = calloc(h->rows + 1, width), **texts = NULL;
    Status status = buffer ? ARENA_NEW(h->arena, texts, h->rows + 1) : arena_exhausted(h->rows, width);
    if (status == STATUS_OK && h->rows) status = read_field(h, table, field, type, buffer);
    for (size_t i = 0; status == STATUS_OK && i < h->rows; i++) {
        const char *text = buffer + i * width;
        if (variable) memcpy(&text, buffer + i * width, sizeof text);
        if (!text) text = "";
        size_t length = variable ? strlen(text) : strnlen(text, width);
        if (!valid_utf8(text, length))
            status = status_make(STATUS_MALFORMED, "%s: '%s/%s', row %zu: the text is not UTF-8", h->r->f->path,
                                 h->frame, field, i);
        else status = ARENA_COPY(h->arena, texts[i], text, length);
    }
    free(buffer); // strings of variable length are HDF5's; the child's end takes them
    *out = texts;
    return status;
}

static Status field_categories(Here *h, hid_t file, const char *field, Column *out) {
    char name[FOREIGN_NAME];
    ForeignKind kind;
    if (snprintf(name, sizeof name, "uns/%s_categories", field) >= (int)sizeof name) return STATUS_OK;
    TRY(foreign_kind(h->r->f, file, name, &kind));
    if (kind != FOREIGN_DATASET) return STATUS_OK;
    char **category = NULL;
    size_t count = 0;
    TRY(any_texts(h, file, name, &category, &count));
    for (size_t i = 0; i < h->rows; i++)
        if (out->integer[i] < -1 || out->integer[i] >= (int64_t)count) return STATUS_OK; // numbers after all
    TRY(ARENA_NEW(h->arena, out->code, h->rows + 1));
    for (size_t i = 0; i < h->rows; i++) out->code[i] = (int32_t)out->integer[i];
    *out = (Column){
        .name = out->name, .kind = COLUMN_CATEGORY, .code = out->code, .category = category, .categories = count};
    return STATUS_OK;
}

static Status compound_field(Here *h, hid_t table, const char *field, hid_t type, Frame *out) {
    Column column = {0};
    H5T_class_t found = H5Tget_class(type);
    TRY(ARENA_COPY(h->arena, column.name, field, strlen(field)));
    if (found == H5T_STRING) {
        column.kind = COLUMN_TEXT;
        TRY(field_texts(h, table, field, type, &column.text));
    } else if (found == H5T_FLOAT) {
        column.kind = COLUMN_REAL;
        TRY(ARENA_NEW(h->arena, column.real, h->rows + 1));
        if (h->rows) TRY(read_field(h, table, field, H5T_NATIVE_DOUBLE, column.real));
    } else if (found == H5T_INTEGER) {
        column.kind = COLUMN_INTEGER;
        TRY(ARENA_NEW(h->arena, column.integer, h->rows + 1));
        if (h->rows) TRY(read_field(h, table, field, H5T_NATIVE_INT64, column.integer));
        TRY(field_categories(h, h->r->f->file, field, &column));
    } else if (found == H5T_ENUM && H5Tget_size(type) == 1) {
        column.kind = COLUMN_BOOL;
        TRY(ARENA_NEW(h->arena, column.flag, h->rows + 1));
        if (h->rows) TRY(read_field(h, table, field, type, column.flag));
        for (size_t i = 0; i < h->rows; i++) column.flag[i] = column.flag[i] != 0;
    } else {
        return annotated_note(h->notes, "%s column '%s' is of a kind that is not read", h->frame, field);
    }
    return frame_add(out, h->arena, &column);
}

static Status read_compound_frame(Here *h, hid_t table, hid_t type, bool columns_too, Frame *out, char ***out_index) {
    int fields = H5Tget_nmembers(type), index = -1;
    if (fields < 0) return h5_error(h->r->f->path, "opening", h->frame);
    for (int pass = 0; pass < 2 && index < 0; pass++) { // by name, else the first text
        for (int i = 0; i < fields && index < 0; i++) {
            char *name = H5Tget_member_name(type, (unsigned)i);
            bool text = H5Tget_member_class(type, (unsigned)i) == H5T_STRING;
            if (name && text && (pass == 1 || strcmp(name, "index") == 0 || strcmp(name, "_index") == 0)) index = i;
            H5free_memory(name);
        }
    }
    Status status = STATUS_OK;
    for (int i = 0; i < fields && status == STATUS_OK; i++) {
        char *name = H5Tget_member_name(type, (unsigned)i);
        hid_t field = H5Tget_member_type(type, (unsigned)i);
        if (!name || field < 0 || !valid_utf8(name, strlen(name)))
            status = h5_error(h->r->f->path, "opening", h->frame);
        else if (i == index) {
            status = ARENA_COPY(h->arena, out->index_name, name, strlen(name));
            if (status == STATUS_OK) status = field_texts(h, table, name, field, out_index);
        } else if (columns_too) status = compound_field(h, table, name, field, out);
        H5free_memory(name);
        h5_close(field);
    }
    if (status == STATUS_OK && index < 0)
        status = status_make(STATUS_MALFORMED, "%s: the table '%s' has no field 'index' with the names of its rows",
                             h->r->f->path, h->frame);
    out->rows = h->rows;
    return status;
}

Status h5ad_frame_read(const MatrixReader *r, hid_t parent, const char *name, bool columns_too, Arena *arena,
                       Frame *out, char ***out_index, Annotated *notes) {
    Here h = {.r = r, .arena = arena, .frame = name, .notes = notes};
    ForeignKind kind;
    *out = (Frame){0};
    *out_index = NULL;
    TRY(foreign_kind(r->f, parent, name, &kind));
    if (kind == FOREIGN_GROUP) {
        hid_t group = -1;
        TRY(foreign_group(r->f, parent, name, &group));
        Status status = read_group_frame(&h, group, columns_too, out, out_index);
        h5_close(group);
        return status;
    }
    hid_t table = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(foreign_dataset(r->f, parent, name, &table, &rank, dims));
    hid_t type = H5Dget_type(table);
    Status status = STATUS_OK;
    h.rows = (size_t)dims[0];
    h.counted = true;
    if (rank != 1 || H5Tget_class(type) != H5T_COMPOUND)
        status = foreign_error(r->f, table, "a table is expected here");
    else status = read_compound_frame(&h, table, type, columns_too, out, out_index);
    h5_close(type);
    h5_close(table);
    return status;
}
