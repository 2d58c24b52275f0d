// weights: one list of names over the readers of files; see weights.h.
#include "weights.h"

#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "weights_walk.h"

typedef struct WeightsInside {
    Mapped map;
    SafeFile safe;
    TorchFile torch;
    ZipFile zip;  // NPZ
    void **owned; // [zip.count] unpacked entries of an NPZ
    NpyFile npy;
    WeightsWalk walk; // tensors, their views, facts; owns the memory
    NameIndex index, fact_index;
} WeightsInside;

// ---- safetensors ---------------------------------------------------------------------------------------------------

static Status list_safetensors(Weights *w) {
    WeightsInside *in = w->inside;
    w->kind = "safetensors";
    TRY(safetensors_open(w->path, &in->safe));
    for (size_t i = 0; i < in->safe.count; i++) {
        const SafeTensor *from = &in->safe.tensor[i];
        PickleView shape = {.type = from->type, .rank = from->rank, .elements = from->elements};
        memcpy(shape.shape, from->shape, sizeof shape.shape);
        TRY(walk_tensor(&in->walk, from->name, &shape, NULL));
    }
    const JsonValue *metadata = in->safe.metadata;
    for (size_t i = 0; metadata && i < metadata->length; i++)
        TRY(walk_fact(&in->walk, metadata->keys[i], metadata->items[i].string, true));
    return STATUS_OK;
}

// ---- NPY and NPZ
// -----------------------------------------------------------------------------------------------------

static Status list_npy(Weights *w) {
    w->kind = "NPY";
    TRY(npy_open(w->path, &w->inside->npy));
    return walk_tensor(&w->inside->walk, "tensor", &w->inside->npy.view, &w->inside->npy.view);
}

static bool is_array_entry(const ZipEntry *entry) {
    return string_ends_with(entry->name, ".npy") && strlen(entry->name) > 4;
}

static Status list_npz(Weights *w) {
    WeightsInside *in = w->inside;
    Arena *arena = &in->walk.arena;
    w->kind = "NPZ";
    in->owned = calloc(in->zip.count + 1, sizeof *in->owned);
    if (!in->owned) return status_make(STATUS_NO_MEMORY, "no memory to open %s", w->path);
    for (size_t i = 0; i < in->zip.count; i++) {
        const ZipEntry *entry = &in->zip.entry[i];
        const unsigned char *data = NULL;
        PickleView *view = NULL;
        PickleStorage *storage = NULL;
        char *name = NULL;
        if (!is_array_entry(entry)) continue;
        TRY(ARENA_NEW(arena, view, 1));
        TRY(ARENA_NEW(arena, storage, 1));
        TRY(ARENA_COPY(arena, name, entry->name, strlen(entry->name) - 4));
        const char *place = arena_printf(arena, "%s: entry %s", w->path, entry->name);
        if (!place) return arena_exhausted(1, 1);
        TRY(zip_content(&in->zip, entry, SIZE_MAX, &data, &in->owned[i]));
        TRY(npy_parse(place, data, (size_t)entry->size, view, storage));
        TRY(walk_tensor(&in->walk, name, view, view));
    }
    return STATUS_OK;
}

// ---- pickles
// ---------------------------------------------------------------------------------------------------------

static Status list_torch(Weights *w, bool archive) {
    WeightsInside *in = w->inside;
    TRY(torch_open(w->path, in->map.data, in->map.size, archive ? &in->zip : NULL, &in->torch));
    w->kind = in->torch.kind;
    return walk_pickle(&in->walk, in->torch.pickle.root);
}

static Status list_zip(Weights *w) {
    WeightsInside *in = w->inside;
    TRY(zip_open(w->path, in->map.data, in->map.size, &in->zip));
    for (size_t i = 0; i < in->zip.count; i++) // torch's archives have no .npy
        if (is_array_entry(&in->zip.entry[i])) return list_npz(w);
    return list_torch(w, true);
}

// ---- opening -------------------------------------------------------------------------------------------------------

static Status list_all(Weights *w) {
    WeightsInside *in = w->inside;
    TRY(mapped_open(w->path, &in->map));
    const unsigned char *data = in->map.data;
    size_t size = in->map.size;
    if (!size) return status_make(STATUS_MALFORMED, "%s is empty", w->path);
    if (zip_recognised(data, size)) return list_zip(w);
    if (npy_recognised(data, size)) return list_npy(w);
    if (tar_recognised(data, size))
        return status_make(STATUS_UNSUPPORTED,
                           "%s is a tar file, as PyTorch before 0.1.10 wrote, or an archive of files; load it "
                           "in PyTorch and save it again, or unpack it",
                           w->path);
    if (size >= 9 && data[8] == '{') return list_safetensors(w);
    if (pickle_recognised(data, size)) return list_torch(w, false);
    return status_make(STATUS_MALFORMED,
                       "%s begins with none of the marks of safetensors, torch archives, pickles, NPY and NPZ; it is "
                       "damaged or another kind of file",
                       w->path);
}

static Status index_names(Weights *w) {
    WeightsInside *in = w->inside;
    w->tensor = in->walk.tensor, w->count = in->walk.count;
    w->fact = in->walk.fact, w->facts = in->walk.facts;
    TRY(name_index_init(&in->index, &in->walk.arena, w->count));
    TRY(name_index_init(&in->fact_index, &in->walk.arena, w->facts));
    for (size_t i = 0; i < w->count; i++)
        if (name_index_add(&in->index, w->tensor[i].name, (int64_t)i) >= 0) {
            char shown[QUOTED_TEXT];
            return status_make(STATUS_UNSUPPORTED, "%s: two tensors are named %s", w->path,
                               quoted(w->tensor[i].name, strlen(w->tensor[i].name), shown));
        }
    for (size_t i = 0; i < w->facts; i++) name_index_add(&in->fact_index, w->fact[i].name, (int64_t)i);
    return STATUS_OK;
}

Status weights_open(const char *path, Weights *out_weights) {
    *out_weights = (Weights){.inside = calloc(1, sizeof(WeightsInside))};
    if (!out_weights->inside) return status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    walk_begin(&out_weights->inside->walk, path);
    out_weights->path = out_weights->inside->walk.path;
    Status status = out_weights->path ? list_all(out_weights) : arena_exhausted(strlen(path), 1);
    if (status == STATUS_OK) status = index_names(out_weights);
    if (status != STATUS_OK) weights_close(out_weights);
    return status;
}

void weights_close(Weights *weights) {
    WeightsInside *in = weights->inside;
    if (in) {
        safetensors_close(&in->safe);
        torch_close(&in->torch);
        for (size_t i = 0; in->owned && i < in->zip.count; i++) free(in->owned[i]);
        free(in->owned);
        zip_close(&in->zip);
        npy_close(&in->npy);
        walk_end(&in->walk);
        mapped_close(&in->map);
        free(in);
    }
    *weights = (Weights){0};
}

// ---- looking up and reading -----------------------------------------------------------------------------------------

const WeightsTensor *weights_find(const Weights *weights, const char *name) {
    if (!weights->count) return NULL;
    int64_t at = name_index_find(&weights->inside->index, name);
    return at < 0 ? NULL : &weights->tensor[at];
}

const char *weights_fact(const Weights *weights, const char *name) {
    if (!weights->facts) return NULL;
    int64_t at = name_index_find(&weights->inside->fact_index, name);
    return at < 0 ? NULL : weights->fact[at].value;
}

static Status bind(Weights *weights, const WeightsTensor *tensor, const PickleView **out_view) {
    *out_view = weights->inside->walk.view[tensor->number];
    return *out_view ? torch_bind(&weights->inside->torch, *out_view) : STATUS_OK;
}

Status weights_read(Weights *weights, const WeightsTensor *tensor, ElementType type, void *to) {
    const PickleView *view = NULL;
    TRY(bind(weights, tensor, &view));
    if (!view) return safetensors_read(&weights->inside->safe, &weights->inside->safe.tensor[tensor->number], type, to);
    Text name = {0};
    text_printf(&name, "%s: tensor %s", weights->path, tensor->name);
    Status status = view_read(view, text_string(&name), type, to);
    text_free(&name);
    return status;
}

Status weights_data(Weights *weights, const WeightsTensor *tensor, const void **out_data) {
    WeightsInside *in = weights->inside;
    const PickleView *view = NULL;
    *out_data = NULL;
    TRY(bind(weights, tensor, &view));
    size_t size = element_size(tensor->type);
    const unsigned char *data = NULL;
    if (!view) {
        const SafeTensor *safe = &in->safe.tensor[tensor->number];
        // the file was opened twice: the mapping must be of the same one
        if (safe->end > safe->begin && in->safe.data_start + safe->end <= in->map.size)
            data = in->map.data + in->safe.data_start + safe->begin;
    } else if (!view->is_text && view_is_packed(view) && view->elements)
        data = view->storage->data + view->offset * size;
    if (data && (uintptr_t)data % size == 0) *out_data = data;
    return STATUS_OK;
}

// Follows a name through the tree of a pickle as the walk built it; keys may hold dots themselves. `steps` are left: a
// value may lead to itself in several ways.
static const PickleValue *value_at(const PickleValue *value, const char *name, int *steps) {
    if (!*name) return value;
    if (--*steps < 0) return NULL;
    if (value->type == PICKLE_OBJECT) {
        for (size_t i = 0; value->state && i < value->state->count; i++) {
            if (!pickle_is_wrapper(value, value->state->items[2 * i])) continue;
            const PickleValue *found = value_at(value->state->items[2 * i + 1], name, steps);
            if (found) return found;
        }
    }
    for (const char *end = name + strcspn(name, ".");; end += 1 + strcspn(end + 1, ".")) {
        char key[256];
        if ((size_t)(end - name) >= sizeof key) return NULL;
        memcpy(key, name, (size_t)(end - name));
        key[end - name] = '\0';
        const PickleValue *member = pickle_get(value, key);
        const PickleValue *found = member ? value_at(member, *end ? end + 1 : end, steps) : NULL;
        if (found || !*end) return found;
    }
}

Status weights_texts(Weights *weights, const char *name, Arena *arena, char ***out_texts, size_t *out_count) {
    const WeightsTensor *tensor = weights_find(weights, name);
    if (tensor) {
        *out_count = (size_t)tensor->elements;
        if (!weights->inside->walk.view[tensor->number])
            return status_make(STATUS_MISMATCH, "%s: tensor %s holds numbers and cannot be read as text", weights->path,
                               name);
        return view_texts(weights->inside->walk.view[tensor->number], weights->path, arena, out_texts);
    }
    const PickleValue *root = weights->inside->torch.pickle.root;
    int steps = 1000;
    const PickleValue *value = root ? value_at(root, name, &steps) : NULL;
    if (!value) return status_make(STATUS_NOT_FOUND, "%s has no list of texts named %s", weights->path, name);
    if (value->type != PICKLE_LIST && value->type != PICKLE_TUPLE)
        return status_make(STATUS_MISMATCH, "%s: %s is %s and no list of texts", weights->path, name,
                           pickle_type_name(value));
    TRY(ARENA_NEW(arena, *out_texts, value->count + 1));
    size_t bytes = 0;
    for (size_t i = 0; i < value->count; i++) {
        const PickleValue *item = value->items[i];
        if (item->type != PICKLE_TEXT || memchr(item->text, 0, item->length) || !valid_utf8(item->text, item->length))
            return status_make(STATUS_MISMATCH, "%s: item %zu of %s is %s and no UTF-8 text", weights->path, i, name,
                               pickle_type_name(item));
        bytes += item->length; // one text may stand in the list very often
        if (bytes > PICKLE_MEMORY)
            return status_make(STATUS_NO_MEMORY, "%s: the texts of %s have more than %d bytes in all, the limit",
                               weights->path, name, PICKLE_MEMORY);
        TRY(ARENA_COPY(arena, (*out_texts)[i], item->text, item->length));
    }
    *out_count = value->count;
    return STATUS_OK;
}
