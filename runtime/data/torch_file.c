// torch_file: see torch_file.h.
#include "torch_file.h"

#include <stdlib.h>
#include <string.h>

// ---- the zip archive ------------------------------------------------------------------------------------------

static const ZipEntry *find_pickle(const ZipFile *zip) {
    for (size_t i = 0; i < zip->count; i++) {
        const char *slash = strchr(zip->entry[i].name, '/');
        if (slash && strcmp(slash, "/data.pkl") == 0) return &zip->entry[i];
    }
    return NULL;
}

static const ZipEntry *find_in(TorchFile *file, const char *name) {
    const char *path = arena_printf(&file->arena, "%s%s", file->stem, name);
    return path ? zip_find(&file->zip, path) : NULL;
}

static Status check_order(TorchFile *file) {
    const ZipEntry *entry = find_in(file, "byteorder");
    const unsigned char *text = NULL;
    void *owned = NULL;
    if (!entry) return STATUS_OK; // before PyTorch 2.1, on the machines of almost everyone
    TRY(zip_content(&file->zip, entry, 64, &text, &owned));
    bool little = entry->size == 6 && memcmp(text, "little", 6) == 0,
         big = entry->size == 3 && memcmp(text, "big", 3) == 0;
    free(owned);
    if (little) return STATUS_OK;
    if (big)
        return status_make(STATUS_UNSUPPORTED,
                           "%s is big-endian; load it in PyTorch and save it on a little-endian machine", file->path);
    return status_make(STATUS_MALFORMED, "%s: entry %s says neither little nor big", file->path, entry->name);
}

// Every storage that the pickle names has an entry of its size.
static Status check_storages(TorchFile *file) {
    for (size_t i = 0; i < file->pickle.storages; i++) {
        const PickleStorage *storage = file->pickle.storage[i];
        const char *name = arena_printf(&file->arena, "data/%s", storage->key);
        if (!name) return arena_exhausted(1, strlen(storage->key));
        const ZipEntry *entry = find_in(file, name);
        uint64_t wanted = storage->count * element_size(storage->type);
        if (!entry)
            return status_make(STATUS_MALFORMED,
                               "%s, byte %llu: entry %s%s of the archive is missing; copy the file again",
                               file->pickle.name, (unsigned long long)storage->at, file->stem, name);
        if (entry->size != wanted)
            return status_make(STATUS_MALFORMED,
                               "%s: entry %s has %llu bytes and the pickle expects %llu (%llu of %s); the "
                               "file is damaged",
                               file->path, entry->name, (unsigned long long)entry->size, (unsigned long long)wanted,
                               (unsigned long long)storage->count, element_name(storage->type));
    }
    return STATUS_OK;
}

static Status open_archive(TorchFile *file) {
    file->kind = "torch archive";
    const ZipEntry *entry = find_pickle(&file->zip);
    if (!entry)
        return status_make(STATUS_UNSUPPORTED,
                           "%s is a zip archive with neither data.pkl (torch) nor .npy entries (NPZ)", file->path);
    size_t stem = (size_t)(strchr(entry->name, '/') - entry->name) + 1;
    char *copy = NULL;
    TRY(ARENA_COPY(&file->arena, copy, entry->name, stem));
    file->stem = copy;
    if (find_in(file, "constants.pkl"))
        return status_make(
            STATUS_UNSUPPORTED,
            "%s is a TorchScript program, not weights; load it in PyTorch and torch.save its state_dict()", file->path);
    TRY(check_order(file));
    const unsigned char *data = NULL;
    size_t used = 0;
    TRY(zip_content(&file->zip, entry, SIZE_MAX, &data, &file->unpacked));
    file->pickle.name = arena_printf(&file->arena, "%s: entry %s", file->path, entry->name);
    if (!file->pickle.name) return arena_exhausted(1, strlen(file->path));
    file->pickle.torch_states = true;
    TRY(pickle_read(&file->pickle, data, (size_t)entry->size, &used));
    if (used != entry->size)
        return status_make(STATUS_MALFORMED,
                           "%s: the pickle ends at byte %zu and the entry has %llu; the file is damaged",
                           file->pickle.name, used, (unsigned long long)entry->size);
    return check_storages(file);
}

// ---- the stream ----------------------------------------------------------------------------------------------

static const unsigned char magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static bool is_magic(const PickleValue *value) {
    return value->type == PICKLE_LARGE && value->length == sizeof magic &&
           memcmp(value->text, magic, sizeof magic) == 0;
}

typedef struct Stream {
    const unsigned char *data;
    size_t size, at;
} Stream;

// The next pickle; `what` says which.
static Status next_pickle(TorchFile *file, Stream *s, const char *what) {
    size_t used = 0;
    file->pickle.name = arena_printf(&file->arena, "%s: %s from byte %zu", file->path, what, s->at);
    if (!file->pickle.name) return arena_exhausted(1, strlen(file->path));
    TRY(pickle_read(&file->pickle, s->data + s->at, s->size - s->at, &used));
    s->at += used;
    return STATUS_OK;
}

static Status bad_stream(const TorchFile *file, const Stream *s, const char *what) {
    return status_make(STATUS_MALFORMED, "%s, byte %zu: %s; the file is damaged or cut off", file->path, s->at, what);
}

// For each key in the order given: its number of elements and its bytes.
static Status read_storages(TorchFile *file, Stream *s, const PickleValue *keys) {
    if (keys->type != PICKLE_LIST) return bad_stream(file, s, "no list of storages follows the tensors");
    if (keys->count != file->pickle.storages)
        return bad_stream(file, s, "the list of storages has another length than the tensors need");
    for (size_t i = 0; i < keys->count; i++) {
        const PickleValue *key = keys->items[i];
        PickleStorage *storage = NULL;
        if (key->type == PICKLE_TEXT) storage = pickle_storage(&file->pickle, key->text, key->length);
        if (!storage || storage->data)
            return bad_stream(file, s, "the list of storages names one that no tensor has, or one twice");
        if (s->size - s->at < 8) return bad_stream(file, s, "the size of a storage is missing");
        uint64_t count;
        memcpy(&count, s->data + s->at, 8);
        if (count != storage->count)
            return bad_stream(file, s, "a storage has another size than its tensors were told");
        s->at += 8;
        uint64_t bytes = count * element_size(storage->type);
        if (bytes > s->size - s->at) return bad_stream(file, s, "a storage reaches beyond the end of the file");
        storage->data = s->data + s->at;
        s->at += (size_t)bytes;
    }
    return s->at == s->size ? STATUS_OK : bad_stream(file, s, "bytes follow the last storage");
}

static Status open_stream(TorchFile *file, Stream *s) {
    file->kind = "torch stream";
    TRY(next_pickle(file, s, "the protocol pickle"));
    const PickleValue *version = file->pickle.root;
    if (version->type != PICKLE_INT || version->integer != 1001)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: its torch protocol is not 1001; load it in PyTorch and save it again", file->path);
    TRY(next_pickle(file, s, "the pickle of the system"));
    const PickleValue *little = pickle_get(file->pickle.root, "little_endian");
    if (!little || little->type != PICKLE_BOOL) return bad_stream(file, s, "the file does not tell its byte order");
    if (!little->boolean)
        return status_make(STATUS_UNSUPPORTED,
                           "%s is big-endian; load it in PyTorch and save it on a little-endian machine", file->path);
    file->pickle.torch_states = true;
    TRY(next_pickle(file, s, "the pickle of tensors"));
    PickleValue *root = file->pickle.root;
    file->pickle.torch_states = false;
    TRY(next_pickle(file, s, "the pickle of storages"));
    const PickleValue *keys = file->pickle.root;
    file->pickle.root = root;
    return read_storages(file, s, keys);
}

static Status open_pickle(TorchFile *file, const unsigned char *data, size_t size) {
    Stream s = {data, size, 0};
    file->kind = "pickle";
    TRY(next_pickle(file, &s, "the pickle"));
    if (is_magic(file->pickle.root)) return open_stream(file, &s);
    return s.at == s.size ? STATUS_OK : bad_stream(file, &s, "bytes follow the pickle");
}

// ---- both ----------------------------------------------------------------------------------------------------

bool tar_recognised(const unsigned char *data, size_t size) {
    return size > 262 && memcmp(data + 257, "ustar", 5) == 0;
}

bool pickle_recognised(const unsigned char *data, size_t size) {
    // Protocol 2 and up begin with 0x80; the others with a value, most often a container.
    return size >= 2 && ((data[0] == 0x80 && data[1] <= 5) || strchr("(]})cIFLSVNGKMJXU", data[0])) && data[0];
}

Status torch_open(const char *path, const unsigned char *data, size_t size, ZipFile *zip, TorchFile *out_file) {
    *out_file = (TorchFile){.path = path};
    arena_init(&out_file->arena);
    Status status;
    if (zip) {
        out_file->zip = *zip;
        *zip = (ZipFile){0};
        status = open_archive(out_file);
    } else {
        status = open_pickle(out_file, data, size);
    }
    if (status == STATUS_OK) {
        out_file->owned = calloc(out_file->pickle.storages + 1, sizeof *out_file->owned);
        if (!out_file->owned) status = status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    }
    if (status != STATUS_OK) torch_close(out_file);
    return status;
}

void torch_close(TorchFile *file) {
    for (size_t i = 0; file->owned && i < file->pickle.storages; i++) free(file->owned[i]);
    free(file->owned);
    free(file->unpacked);
    pickle_free(&file->pickle);
    zip_close(&file->zip);
    arena_free(&file->arena);
    *file = (TorchFile){0};
}

Status torch_bind(TorchFile *file, const PickleView *view) {
    PickleStorage *storage = view->storage;
    if (storage->data || !file->stem) return STATUS_OK;
    const char *name = arena_printf(&file->arena, "data/%s", storage->key);
    const ZipEntry *entry = name ? find_in(file, name) : NULL;
    if (!entry) return arena_exhausted(1, strlen(storage->key));
    return zip_content(&file->zip, entry, SIZE_MAX, &storage->data, &file->owned[storage->number]);
}
