// h5: see h5.h.
#if !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L // strnlen
#endif

#include "h5.h"

#include <errno.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"

void h5_quiet(void) {
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

// Keeps the description of the first entry: H5E_WALK_UPWARD starts at the innermost call.
static herr_t deepest_entry(unsigned n, const H5E_error2_t *entry, void *text) {
    if (n == 0 && entry->desc) snprintf(text, 200, "%s", entry->desc);
    return 0;
}

Status h5_error(const char *path, const char *doing, const char *object) {
    char reason[200] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, deepest_entry, reason);
    H5Eclear2(H5E_DEFAULT);
    return status_make(STATUS_MALFORMED, "%s: %s %s failed%s%s", path, doing, object, *reason ? ": " : "", reason);
}

void h5_close(hid_t id) {
    if (id > 0) H5Idec_ref(id);
}

Status h5_file_open_as(const char *path, hid_t access, hid_t *out_file) {
    h5_quiet();
    *out_file = -1;
    uint64_t size = 0;
    if (is_directory(path)) return status_make(STATUS_INVALID, "%s is a directory; an HDF5 file is needed", path);
    unsigned char magic[8] = {0};
    size_t got = 0;
    TRY(file_head(path, magic, sizeof magic, &got, &size)); // for the system's own reason: HDF5 buries it
    htri_t hdf5 = H5Fis_hdf5(path);
    if (hdf5 <= 0) {
        bool begins = got == 8 && memcmp(magic, "\x89HDF\r\n\x1a\n", 8) == 0;
        return status_make(
            STATUS_MALFORMED,
            begins ? "%s: the HDF5 header is damaged or cut off; copy the file again" : "%s: not an HDF5 file", path);
    }
    *out_file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (*out_file < 0) return h5_error(path, "opening", "the file (damaged or cut off; copy it again)");
    return STATUS_OK;
}

Status h5_file_open(const char *path, hid_t *out_file) {
    return h5_file_open_as(path, H5P_DEFAULT, out_file);
}

Status h5_group_create(const char *path, hid_t parent, const char *name, hid_t *out_group) {
    h5_quiet();
    hid_t create = H5Pcreate(H5P_GROUP_CREATE);
    if (create > 0) H5Pset_obj_track_times(create, 0);
    *out_group = H5Gcreate2(parent, name, H5P_DEFAULT, create > 0 ? create : H5P_DEFAULT, H5P_DEFAULT);
    h5_close(create);
    return *out_group < 0 ? h5_error(path, "creating group", name) : STATUS_OK;
}

// False in *out_there if the link does not exist; an error if the file is too damaged to tell, or if the link leads
// somewhere else: no file that is read by these functions has links but its own objects.
static Status link_there(const char *path, hid_t parent, const char *name, bool *out_there) {
    H5L_info_t info;
    h5_quiet();
    htri_t there = H5Lexists(parent, name, H5P_DEFAULT);
    *out_there = there > 0;
    if (there < 0 || (there > 0 && H5Lget_info(parent, name, &info, H5P_DEFAULT) < 0))
        return h5_error(path, "finding", name);
    if (there > 0 && info.type != H5L_TYPE_HARD)
        return status_make(STATUS_MALFORMED, "%s: '%s' is a link to another place, which is not followed", path, name);
    return STATUS_OK;
}

// Whether the values stand in another file (external storage, virtual datasets).
static bool is_elsewhere(hid_t dataset) {
    hid_t create = H5Dget_create_plist(dataset);
    bool elsewhere = create < 0 || H5Pget_layout(create) == H5D_VIRTUAL || H5Pget_external_count(create) > 0;
    h5_close(create);
    return elsewhere;
}

Status h5_group_open(const char *path, hid_t parent, const char *name, hid_t *out_group) {
    bool there = false;
    *out_group = -1;
    TRY(link_there(path, parent, name, &there));
    if (!there) return status_make(STATUS_MALFORMED, "%s: the group '%s' is missing", path, name);
    *out_group = H5Gopen2(parent, name, H5P_DEFAULT);
    return *out_group < 0 ? h5_error(path, "opening group", name) : STATUS_OK;
}

// ---- Attributes ---------------------------------------------------------------------------------

// `width` bytes, or H5T_VARIABLE.
static hid_t text_type(size_t width) {
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type > 0 && (H5Tset_size(type, width) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
                     H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        type = -1;
    }
    return type;
}

// count < 0 makes a scalar.
static Status put_attribute(const char *path, hid_t object, const char *name, hid_t file_type, hid_t memory_type,
                            int64_t count, const void *data) {
    h5_quiet();
    hsize_t dims[1] = {(hsize_t)(count < 0 ? 1 : count)};
    hid_t space = count < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, dims, NULL);
    hid_t attribute = H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool failed = attribute < 0 || (count != 0 && H5Awrite(attribute, memory_type, data) < 0);
    Status status = failed ? h5_error(path, "writing attribute", name) : STATUS_OK;
    h5_close(attribute);
    h5_close(space);
    return status;
}

Status h5_put_text(const char *path, hid_t object, const char *name, const char *value) {
    hid_t type = text_type(H5T_VARIABLE);
    Status status = put_attribute(path, object, name, type, type, -1, &value);
    h5_close(type);
    return status;
}

// Texts side by side in fields as wide as the longest one.
typedef struct Packed {
    hid_t type;
    char *bytes; // [count][width]
} Packed;

static Status pack_texts(char *const *values, size_t count, Packed *out) {
    size_t width = 1;
    for (size_t i = 0; i < count; i++)
        if (strlen(values[i]) > width) width = strlen(values[i]);
    *out = (Packed){text_type(width), calloc(count + 1, width)};
    if (!out->bytes) {
        h5_close(out->type);
        return arena_exhausted(count, width);
    }
    for (size_t i = 0; i < count; i++) memcpy(out->bytes + i * width, values[i], strlen(values[i]));
    return STATUS_OK;
}

static void packed_free(Packed *packed) {
    h5_close(packed->type);
    free(packed->bytes);
}

Status h5_put_fixed_text(const char *path, hid_t object, const char *name, const char *value) {
    char *values[1] = {(char *)value};
    Packed packed;
    TRY(pack_texts(values, 1, &packed));
    Status status = put_attribute(path, object, name, packed.type, packed.type, -1, packed.bytes);
    packed_free(&packed);
    return status;
}

Status h5_put_fixed_texts(const char *path, hid_t object, const char *name, char *const *values, size_t count) {
    Packed packed;
    TRY(pack_texts(values, count, &packed));
    Status status = put_attribute(path, object, name, packed.type, packed.type, (int64_t)count, packed.bytes);
    packed_free(&packed);
    return status;
}

Status h5_write_fixed_texts(const char *path, hid_t parent, const char *name, char *const *values, size_t count) {
    Packed packed;
    hsize_t dims[1] = {count};
    TRY(pack_texts(values, count, &packed));
    Status status = h5_write(path, parent, name, packed.type, packed.type, 1, dims, packed.bytes, (H5Layout){0});
    packed_free(&packed);
    return status;
}

Status h5_put_i64(const char *path, hid_t object, const char *name, int64_t value) {
    return put_attribute(path, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, -1, &value);
}

Status h5_put_f64(const char *path, hid_t object, const char *name, double value) {
    return put_attribute(path, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, -1, &value);
}

Status h5_put_texts(const char *path, hid_t object, const char *name, char *const *values, size_t count) {
    hid_t type = text_type(H5T_VARIABLE);
    Status status = put_attribute(path, object, name, type, type, (int64_t)count, values);
    h5_close(type);
    return status;
}

Status h5_put_array_i64(const char *path, hid_t object, const char *name, const int64_t *values, size_t count) {
    return put_attribute(path, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, (int64_t)count, values);
}

typedef struct OpenAttribute {
    hid_t attribute, type, space;
    hssize_t count;
} OpenAttribute;

static void close_attribute(OpenAttribute *open) {
    h5_close(open->space);
    h5_close(open->type);
    h5_close(open->attribute);
}

static Status open_attribute(const char *path, hid_t object, const char *name, H5T_class_t type_class,
                             const char *wanted, OpenAttribute *open) {
    h5_quiet();
    *open = (OpenAttribute){-1, -1, -1, 0};
    htri_t there = H5Aexists(object, name);
    if (there < 0) return h5_error(path, "finding attribute", name);
    if (there == 0) return status_make(STATUS_MALFORMED, "%s: the attribute '%s' is missing", path, name);
    open->attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (open->attribute >= 0) open->type = H5Aget_type(open->attribute);
    if (open->attribute >= 0) open->space = H5Aget_space(open->attribute);
    Status status = STATUS_OK;
    if (open->type < 0 || open->space < 0) status = h5_error(path, "opening attribute", name);
    else if (H5Tget_class(open->type) != type_class)
        status = status_make(STATUS_MALFORMED, "%s: the attribute '%s' is not %s", path, name, wanted);
    else open->count = H5Sget_simple_extent_npoints(open->space);
    if (status == STATUS_OK && open->count < 0) status = h5_error(path, "opening attribute", name);
    if (status != STATUS_OK) close_attribute(open);
    return status;
}

static Status get_number(const char *path, hid_t object, const char *name, H5T_class_t type_class, hid_t memory_type,
                         void *out_value) {
    OpenAttribute open;
    TRY(open_attribute(path, object, name, type_class, "a number of the right kind", &open));
    Status status = STATUS_OK;
    if (open.count != 1)
        status = status_make(STATUS_MALFORMED, "%s: the attribute '%s' must be a single number", path, name);
    else if (H5Aread(open.attribute, memory_type, out_value) < 0) status = h5_error(path, "reading attribute", name);
    close_attribute(&open);
    return status;
}

Status h5_get_i64(const char *path, hid_t object, const char *name, int64_t *out_value) {
    return get_number(path, object, name, H5T_INTEGER, H5T_NATIVE_INT64, out_value);
}

Status h5_get_f64(const char *path, hid_t object, const char *name, double *out_value) {
    return get_number(path, object, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, out_value);
}

// Copies texts out of a read buffer: pointers for variable length, packed bytes otherwise.
static Status copy_texts(const char *path, const char *name, hid_t type, size_t width, const void *buffer, size_t count,
                         Arena *arena, char **values) {
    bool variable = H5Tis_variable_str(type) > 0, blanks = !variable && H5Tget_strpad(type) == H5T_STR_SPACEPAD;
    for (size_t i = 0; i < count; i++) {
        const char *text = variable ? ((char *const *)buffer)[i] : (const char *)buffer + i * width;
        if (!text) text = "";
        size_t length = variable ? strlen(text) : strnlen(text, width);
        while (blanks && length > 0 && text[length - 1] == ' ') length--;
        if (!valid_utf8(text, length))
            return status_make(STATUS_MALFORMED, "%s: '%s' holds text that is not UTF-8", path, name);
        TRY(ARENA_COPY(arena, values[i], text, length));
    }
    return STATUS_OK;
}

enum { MOST_TEXT_BYTES = 1 << 30 };

static Status get_texts(const char *path, hid_t object, const char *name, bool only_fixed, Arena *arena,
                        char ***out_values, size_t *out_count) {
    OpenAttribute open;
    *out_values = NULL;
    *out_count = 0;
    TRY(open_attribute(path, object, name, H5T_STRING, "text", &open));
    size_t count = (size_t)open.count;
    bool variable = H5Tis_variable_str(open.type) > 0;
    size_t width = variable ? sizeof(char *) : H5Tget_size(open.type);
    Status status = STATUS_OK;
    void *buffer = NULL;
    char **values = NULL;
    if (variable && only_fixed) {
        status =
            status_make(STATUS_MALFORMED,
                        "%s: the attribute '%s' holds text of variable length, which stores do not have", path, name);
        goto done;
    }
    if (width == 0 || count > MOST_TEXT_BYTES / width) {
        status = status_make(STATUS_MALFORMED, "%s: the attribute '%s' is absurdly large", path, name);
        goto done;
    }
    buffer = calloc(count + 1, width);
    if (!buffer) {
        status = arena_exhausted(count, width);
        goto done;
    }
    TRY_OR(status, done, ARENA_NEW(arena, values, count));
    if (count && H5Aread(open.attribute, open.type, buffer) < 0) status = h5_error(path, "reading attribute", name);
    else status = copy_texts(path, name, open.type, width, buffer, count, arena, values);
    if (variable && count) H5Dvlen_reclaim(open.type, open.space, H5P_DEFAULT, buffer);
done:
    free(buffer);
    close_attribute(&open);
    if (status != STATUS_OK) return status;
    *out_values = values;
    *out_count = count;
    return STATUS_OK;
}

static Status get_text(const char *path, hid_t object, const char *name, bool only_fixed, Arena *arena,
                       char **out_value) {
    char **values = NULL;
    size_t count = 0;
    TRY(get_texts(path, object, name, only_fixed, arena, &values, &count));
    if (count != 1) return status_make(STATUS_MALFORMED, "%s: the attribute '%s' must be a single text", path, name);
    *out_value = values[0];
    return STATUS_OK;
}

Status h5_get_texts(const char *path, hid_t object, const char *name, Arena *arena, char ***out_values,
                    size_t *out_count) {
    return get_texts(path, object, name, false, arena, out_values, out_count);
}

Status h5_get_text(const char *path, hid_t object, const char *name, Arena *arena, char **out_value) {
    return get_text(path, object, name, false, arena, out_value);
}

Status h5_get_fixed_texts(const char *path, hid_t object, const char *name, Arena *arena, char ***out_values,
                          size_t *out_count) {
    return get_texts(path, object, name, true, arena, out_values, out_count);
}

Status h5_get_fixed_text(const char *path, hid_t object, const char *name, Arena *arena, char **out_value) {
    return get_text(path, object, name, true, arena, out_value);
}

// ---- Datasets -----------------------------------------------------------------------------------

Status h5_dataset_create(const char *path, hid_t parent, const char *name, hid_t file_type, int rank,
                         const hsize_t *dims, H5Layout layout, hid_t *out_dataset) {
    h5_quiet();
    *out_dataset = -1;
    hid_t space = H5Screate_simple(rank, dims, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
    bool ok = space >= 0 && create >= 0 && H5Pset_obj_track_times(create, 0) >= 0;
    bool empty = false;
    for (int i = 0; i < rank; i++) empty = empty || dims[i] == 0;
    if (ok && layout.chunk && !empty) {
        ok = H5Pset_chunk(create, rank, layout.chunk) >= 0;
        if (ok && layout.deflate > 0)
            ok = H5Pset_shuffle(create) >= 0 && H5Pset_deflate(create, (unsigned)layout.deflate) >= 0;
        if (ok && layout.checksum) ok = H5Pset_fletcher32(create) >= 0;
    }
    if (ok) *out_dataset = H5Dcreate2(parent, name, file_type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    Status status = *out_dataset < 0 ? h5_error(path, "creating", name) : STATUS_OK;
    h5_close(create);
    h5_close(space);
    return status;
}

Status h5_write(const char *path, hid_t parent, const char *name, hid_t file_type, hid_t memory_type, int rank,
                const hsize_t *dims, const void *data, H5Layout layout) {
    hid_t dataset = -1;
    bool empty = false;
    for (int i = 0; i < rank; i++) empty = empty || dims[i] == 0;
    TRY(h5_dataset_create(path, parent, name, file_type, rank, dims, layout, &dataset));
    Status status = STATUS_OK;
    if (!empty && H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        status = h5_error(path, "writing", name);
    h5_close(dataset);
    return status;
}

Status h5_write_texts(const char *path, hid_t parent, const char *name, char *const *values, size_t count) {
    hid_t type = text_type(H5T_VARIABLE);
    hsize_t dims[1] = {count};
    Status status = h5_write(path, parent, name, type, type, 1, dims, values, (H5Layout){0});
    h5_close(type);
    return status;
}

static const char *class_name(H5T_class_t type_class) {
    return type_class == H5T_INTEGER ? "integers" : type_class == H5T_FLOAT ? "floating-point numbers" : "text";
}

Status h5_dataset_open(const char *path, hid_t parent, const char *name, H5T_class_t type_class, size_t type_size,
                       int rank, hsize_t *dims, hid_t *out_dataset) {
    bool there = false;
    *out_dataset = -1;
    TRY(link_there(path, parent, name, &there));
    if (!there) return status_make(STATUS_MALFORMED, "%s: the dataset '%s' is missing", path, name);
    Status status = STATUS_OK;
    hid_t dataset = H5Dopen2(parent, name, H5P_DEFAULT);
    hid_t type = dataset < 0 ? -1 : H5Dget_type(dataset), space = dataset < 0 ? -1 : H5Dget_space(dataset);
    hsize_t found[H5S_MAX_RANK] = {0};
    if (dataset < 0 || type < 0 || space < 0) {
        status = h5_error(path, "opening", name);
    } else if (is_elsewhere(dataset)) {
        status =
            status_make(STATUS_MALFORMED, "%s: '%s' keeps its values in another file, which is not read", path, name);
    } else if (H5Tget_class(type) != type_class || (type_size && H5Tget_size(type) != type_size)) {
        status = status_make(STATUS_MALFORMED, "%s: '%s' must hold %s of %zu bytes", path, name, class_name(type_class),
                             type_size);
    } else if (H5Sget_simple_extent_ndims(space) != rank || H5Sget_simple_extent_dims(space, found, NULL) < 0) {
        status = status_make(STATUS_MALFORMED, "%s: '%s' must have %d dimensions, not %d", path, name, rank,
                             H5Sget_simple_extent_ndims(space));
    }
    for (int i = 0; i < rank && status == STATUS_OK; i++) {
        if (dims[i] != (hsize_t)-1 && dims[i] != found[i])
            status = status_make(STATUS_MALFORMED, "%s: dimension %d of '%s' is %llu where %llu is expected", path,
                                 i + 1, name, (unsigned long long)found[i], (unsigned long long)dims[i]);
        dims[i] = found[i];
    }
    h5_close(space);
    h5_close(type);
    if (status != STATUS_OK) h5_close(dataset);
    else *out_dataset = dataset;
    return status;
}

static Status move_rows(const char *path, const char *name, hid_t dataset, hid_t memory_type, hsize_t first,
                        hsize_t count, void *out_data, const void *data) {
    h5_quiet();
    if (count == 0) return STATUS_OK;
    hsize_t dims[H5S_MAX_RANK] = {0}, start[4] = {first}, size[4] = {count};
    hid_t space = H5Dget_space(dataset), memory = -1;
    int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, dims, NULL);
    bool ok = rank >= 1 && rank <= 4;
    for (int i = 1; ok && i < rank; i++) size[i] = dims[i];
    ok = ok && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL) >= 0;
    if (ok) memory = H5Screate_simple(rank, size, NULL);
    ok = ok && memory >= 0;
    if (ok && out_data) ok = H5Dread(dataset, memory_type, memory, space, H5P_DEFAULT, out_data) >= 0;
    if (ok && data) ok = H5Dwrite(dataset, memory_type, memory, space, H5P_DEFAULT, data) >= 0;
    Status status = ok ? STATUS_OK : h5_error(path, out_data ? "reading" : "writing", name);
    h5_close(memory);
    h5_close(space);
    return status;
}

Status h5_read_rows(const char *path, const char *name, hid_t dataset, hid_t memory_type, hsize_t first, hsize_t count,
                    void *out_data) {
    return move_rows(path, name, dataset, memory_type, first, count, out_data, NULL);
}

Status h5_write_rows(const char *path, const char *name, hid_t dataset, hid_t memory_type, hsize_t first, hsize_t count,
                     const void *data) {
    return move_rows(path, name, dataset, memory_type, first, count, NULL, data);
}

Status h5_read_texts(const char *path, hid_t parent, const char *name, Arena *arena, char ***out_values,
                     size_t *out_count) {
    hsize_t dims[1] = {(hsize_t)-1};
    hid_t dataset = -1;
    *out_values = NULL;
    *out_count = 0;
    TRY(h5_dataset_open(path, parent, name, H5T_STRING, 0, 1, dims, &dataset));
    Status status = STATUS_OK;
    hid_t type = H5Dget_type(dataset);
    bool variable = H5Tis_variable_str(type) != 0;
    size_t width = H5Tget_size(type), count = (size_t)dims[0];
    void *buffer = NULL;
    char **values = NULL;
    if (variable) {
        status = status_make(STATUS_MALFORMED,
                             "%s: '%s' holds texts of variable length, which have no checksums and are not read here",
                             path, name);
        goto done;
    }
    if (width == 0 || dims[0] > MOST_TEXT_BYTES / width) {
        status = status_make(STATUS_MALFORMED, "%s: '%s' is absurdly large", path, name);
        goto done;
    }
    buffer = calloc(count + 1, width);
    if (!buffer) {
        status = arena_exhausted(count, width);
        goto done;
    }
    TRY_OR(status, done, ARENA_NEW(arena, values, count));
    if (count && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer) < 0)
        status = h5_error(path, "reading", name);
    else status = copy_texts(path, name, type, width, buffer, count, arena, values);
done:
    free(buffer);
    h5_close(type);
    h5_close(dataset);
    if (status != STATUS_OK) return status;
    *out_values = values;
    *out_count = count;
    return STATUS_OK;
}
