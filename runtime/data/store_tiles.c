// store_tiles: reading tiles. From version 3 on they lie at places known when the store was opened and are read there
// with pread, so HDF5 and its one lock have no part in it and any number of threads may read. Older stores keep them in
// HDF5's chunks and are read through it.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libdeflate.h>

#include "slide_jpeg.h"
#include "store_inside.h"

// ---- Opening ------------------------------------------------------------------------------------

// HDF5's own descriptor, so that it is the same file even if another one has taken its name since.
Status tiles_open_file(Store *store) {
    void *handle = NULL;
    struct stat file;
    store->descriptor = -1;
    if (H5Fget_vfd_handle(store->h5, H5P_DEFAULT, &handle) < 0 || !handle)
        return h5_error(store->info.path, "finding", "the file's descriptor");
    store->descriptor = *(const int *)handle;
    if (fstat(store->descriptor, &file) != 0) return status_errno(errno, "cannot look at %s", store->info.path);
    store->file_bytes = (uint64_t)file.st_size;
    return STATUS_OK;
}

// Where a contiguous dataset of `bytes` bytes lies.
static Status locate(const Store *store, const char *where, const char *name, hid_t dataset, uint64_t bytes,
                     uint64_t *out_at) {
    hid_t create = H5Dget_create_plist(dataset);
    bool contiguous = create >= 0 && H5Pget_layout(create) == H5D_CONTIGUOUS && H5Pget_external_count(create) == 0;
    h5_close(create);
    if (!contiguous) return status_make(STATUS_MALFORMED, "%s: '%s' must be stored contiguously", where, name);
    haddr_t at = H5Dget_offset(dataset);
    if (at == HADDR_UNDEF) return status_make(STATUS_MALFORMED, "%s: '%s' was never written", where, name);
    if (at > store->file_bytes || bytes > store->file_bytes - at)
        return status_make(STATUS_MALFORMED,
                           "%s: '%s' should be %llu bytes at offset %llu, behind the file's end at "
                           "%llu (cut off; copy it again)",
                           where, name, (unsigned long long)bytes, (unsigned long long)at,
                           (unsigned long long)store->file_bytes);
    *out_at = at;
    return STATUS_OK;
}

static Status read_checks(Store *store, const char *where, hid_t group, const char *name, size_t n, uint32_t **out) {
    hsize_t dims[1] = {n};
    hid_t dataset = -1;
    TRY(ARENA_NEW(&store->arena, *out, n));
    TRY(h5_dataset_open(where, group, name, H5T_INTEGER, 4, 1, dims, &dataset));
    Status status = h5_read_rows(where, name, dataset, H5T_NATIVE_UINT32, 0, n, *out);
    h5_close(dataset);
    return status;
}

static Status open_plain(Store *store, const char *where, hid_t group, size_t n, TilePlaces *places) {
    hsize_t side = store->info.tile_size, dims[4] = {n, side, side, 3};
    hid_t dataset = -1;
    TRY(h5_dataset_open(where, group, "tiles", H5T_INTEGER, 1, 4, dims, &dataset));
    uint64_t bytes = (uint64_t)(side * side * 3);
    Status status = n > UINT64_MAX / bytes ? status_make(STATUS_MALFORMED, "%s: 'tiles' is absurdly large", where)
                                           : locate(store, where, "tiles", dataset, n * bytes, &places->at);
    h5_close(dataset);
    TRY(status);
    return read_checks(store, where, group, "tiles_check", n, &places->check);
}

// The most that a packed tile may take. JPEG of noise can be larger than its pixels, hardly twice.
static uint64_t most_packed(const Store *store) {
    return (uint64_t)store->info.tile_size * store->info.tile_size * 6 + 65536;
}

static Status check_starts(const Store *store, const char *where, const TilePlaces *places, size_t n, hsize_t total,
                           char *const *ids) {
    const int64_t *start = places->start;
    if (start[0] != 0 || (uint64_t)start[n] != total)
        return status_make(STATUS_MALFORMED,
                           "%s: 'tiles_packed/start' goes from %lld to %lld; 'tiles_packed/bytes' has %llu bytes",
                           where, (long long)start[0], (long long)start[n], (unsigned long long)total);
    for (size_t i = 0; i < n; i++) {
        if (start[i + 1] <= start[i] || (uint64_t)start[i + 1] > total)
            return status_make(STATUS_MALFORMED,
                               "%s: 'tiles_packed/start' does not ascend at spot %s (%lld, then %lld)", where, ids[i],
                               (long long)start[i], (long long)start[i + 1]);
        if ((uint64_t)(start[i + 1] - start[i]) > most_packed(store))
            return status_make(STATUS_MALFORMED, "%s: the tile of spot %s claims %lld bytes; at most %llu are possible",
                               where, ids[i], (long long)(start[i + 1] - start[i]),
                               (unsigned long long)most_packed(store));
    }
    return STATUS_OK;
}

static Status open_packed(Store *store, const char *where, hid_t group, size_t n, char *const *ids,
                          TilePlaces *places) {
    hsize_t starts[1] = {n + 1}, total[1] = {(hsize_t)-1};
    hid_t packed = -1, start = -1, bytes = -1;
    Status status = STATUS_OK;
    TRY_OR(status, done, h5_group_open(where, group, "tiles_packed", &packed));
    TRY_OR(status, done, h5_dataset_open(where, packed, "start", H5T_INTEGER, 8, 1, starts, &start));
    TRY_OR(status, done, ARENA_NEW(&store->arena, places->start, n + 1));
    TRY_OR(status, done, h5_read_rows(where, "start", start, H5T_NATIVE_INT64, 0, n + 1, places->start));
    TRY_OR(status, done, h5_dataset_open(where, packed, "bytes", H5T_INTEGER, 1, 1, total, &bytes));
    TRY_OR(status, done, check_starts(store, where, places, n, total[0], ids));
    TRY_OR(status, done, locate(store, where, "tiles_packed/bytes", bytes, total[0], &places->at));
    status = read_checks(store, where, packed, "check", n, &places->check);
done:
    h5_close(start);
    h5_close(bytes);
    h5_close(packed);
    return status;
}

Status tiles_open(Store *store, const char *where, const StoreSection *section, SectionHandles *h) {
    hsize_t side = store->info.tile_size, dims[4] = {section->n_spots, side, side, 3};
    if (side == 0) return STATUS_OK;
    if (!store_tiles_shared(store))
        return h5_dataset_open(where, h->group, "tiles", H5T_INTEGER, 1, 4, dims, &h->tiles);
    if (store->info.jpeg || store->info.deflate)
        return open_packed(store, where, h->group, section->n_spots, section->ids, &h->places);
    return open_plain(store, where, h->group, section->n_spots, &h->places);
}

bool store_tiles_shared(const Store *store) {
    return store->info.version >= 3;
}

// ---- Reading ------------------------------------------------------------------------------------

typedef struct TileReader {
    const Store *store;
    size_t bytes; // of a tile's pixels
    uint8_t *buffer;
    size_t capacity;
    JpegTiles *jpeg;
    struct libdeflate_decompressor *inflate;
} TileReader;

static void reader_end(TileReader *reader) {
    free(reader->buffer);
    jpeg_tiles_free(reader->jpeg);
    if (reader->inflate) libdeflate_free_decompressor(reader->inflate);
}

static Status read_at(const TileReader *reader, const char *where, uint64_t at, uint8_t *to, size_t size) {
    while (size > 0) {
        ssize_t got = pread(reader->store->descriptor, to, size, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return status_errno(errno, "%s: cannot read tiles at offset %llu", where, (unsigned long long)at);
        if (got == 0)
            return status_make(STATUS_MALFORMED,
                               "%s: the file ends at offset %llu, inside the tiles (cut off while it "
                               "was open; copy it again)",
                               where, (unsigned long long)at);
        to += got;
        at += (uint64_t)got;
        size -= (size_t)got;
    }
    return STATUS_OK;
}

static const char *id_of(const Store *store, SpotRef spot) {
    return store->sections[spot.section].ids[spot.row];
}

static Status check_tile(const Store *store, SpotRef spot, const uint8_t *data, size_t size) {
    const SectionHandles *h = &store->handles[spot.section];
    if (libdeflate_crc32(0, data, size) == h->places.check[spot.row]) return STATUS_OK;
    return status_make(STATUS_MALFORMED,
                       "%s: the tile of spot %s (row %u) does not agree with its checksum; the file is damaged, copy "
                       "or prepare it again",
                       h->where, id_of(store, spot), spot.row);
}

// Neighbouring rows lie behind each other.
static Status read_plain(TileReader *reader, SpotRef first, size_t run, uint8_t *to) {
    const SectionHandles *h = &reader->store->handles[first.section];
    TRY(read_at(reader, h->where, h->places.at + first.row * (uint64_t)reader->bytes, to, run * reader->bytes));
    for (size_t i = 0; i < run; i++)
        TRY(check_tile(reader->store, (SpotRef){first.section, first.row + (uint32_t)i}, to + i * reader->bytes,
                       reader->bytes));
    return STATUS_OK;
}

static Status unpack(TileReader *reader, const uint8_t *data, size_t size, uint8_t *to) {
    size_t side = reader->store->info.tile_size;
    if (reader->store->info.jpeg) {
        JpegTile tile = {.data = data,
                         .size = size,
                         .color = JPEG_TILE_YCBCR,
                         .width = side,
                         .height = side,
                         .visible_width = side,
                         .visible_height = side,
                         .channels = 3};
        if (!reader->jpeg) TRY(jpeg_tiles_create(&reader->jpeg));
        return jpeg_tiles_decode(reader->jpeg, &tile, to);
    }
    if (!reader->inflate && !(reader->inflate = libdeflate_alloc_decompressor())) return arena_exhausted(1, 1);
    if (libdeflate_zlib_decompress(reader->inflate, data, size, to, reader->bytes, NULL) == LIBDEFLATE_SUCCESS)
        return STATUS_OK;
    return status_make(STATUS_MALFORMED, "its %zu bytes do not inflate to the %zu of a tile", size, reader->bytes);
}

static Status read_packed(TileReader *reader, SpotRef first, size_t run, uint8_t *to) {
    const SectionHandles *h = &reader->store->handles[first.section];
    const int64_t *start = h->places.start + first.row;
    for (size_t i = 0; i < run; i++) {
        SpotRef spot = {first.section, first.row + (uint32_t)i};
        size_t size = (size_t)(start[i + 1] - start[i]);
        if (reader->capacity < size) {
            free(reader->buffer);
            reader->capacity = 0;
            reader->buffer = malloc(size * 2);
            if (!reader->buffer) return arena_exhausted(size, 2);
            reader->capacity = size * 2;
        }
        TRY(read_at(reader, h->where, h->places.at + (uint64_t)start[i], reader->buffer, size));
        TRY(check_tile(reader->store, spot, reader->buffer, size));
        TRY_IN(unpack(reader, reader->buffer, size, to + i * reader->bytes), "%s: the tile of spot %s (row %u)",
               h->where, id_of(reader->store, spot), spot.row);
    }
    return STATUS_OK;
}

static Status require_any(const Store *store) {
    if (store->info.tile_size) return STATUS_OK;
    return status_make(STATUS_MISMATCH, "%s: the store has no tiles; prepare it with tiles", store->info.path);
}

Status store_read_tiles(Store *store, const SpotRef *spots, size_t count, uint8_t *tiles) {
    TileReader reader = {.store = store, .bytes = store->info.tile_size * store->info.tile_size * 3};
    TRY(require_any(store));
    bool packed = store->info.jpeg || store->info.deflate, shared = store_tiles_shared(store);
    Status status = STATUS_OK;
    for (size_t i = 0, run = 1; i < count && status == STATUS_OK; i += run) {
        TRY_OR(status, done, store_check_spot(store, spots[i]));
        for (run = 1;
             i + run < count && spots[i + run].section == spots[i].section && spots[i + run].row == spots[i].row + run;
             run++)
            TRY_OR(status, done, store_check_spot(store, spots[i + run]));
        const SectionHandles *h = &store->handles[spots[i].section];
        uint8_t *to = tiles + i * reader.bytes;
        if (!shared) status = h5_read_rows(h->where, "tiles", h->tiles, H5T_NATIVE_UINT8, spots[i].row, run, to);
        else status = packed ? read_packed(&reader, spots[i], run, to) : read_plain(&reader, spots[i], run, to);
    }
done:
    reader_end(&reader);
    return status;
}

void store_expect_tiles(const Store *store, const SpotRef *spots, size_t count) {
    uint64_t bytes = (uint64_t)store->info.tile_size * store->info.tile_size * 3;
    if (!store_tiles_shared(store) || bytes == 0) return;
    for (size_t i = 0; i < count; i++) {
        if (spots[i].section >= store->info.n_sections || spots[i].row >= store->sections[spots[i].section].n_spots)
            return; // reading them will say so
        const TilePlaces *places = &store->handles[spots[i].section].places;
        const int64_t *start = places->start ? places->start + spots[i].row : NULL;
        uint64_t at = start ? (uint64_t)start[0] : spots[i].row * bytes;
        uint64_t size = start ? (uint64_t)(start[1] - start[0]) : bytes;
        posix_fadvise(store->descriptor, (off_t)(places->at + at), (off_t)size, POSIX_FADV_WILLNEED);
    }
}

Status store_require_tiles(const Store *store, size_t tile_size) {
    TRY(require_any(store));
    if (tile_size == 0 || tile_size == store->info.tile_size) return STATUS_OK;
    return status_make(STATUS_MISMATCH,
                       "%s: its tiles are %zu x %zu pixels, the model takes %zu x %zu; prepare the store again "
                       "for this model",
                       store->info.path, store->info.tile_size, store->info.tile_size, tile_size, tile_size);
}
