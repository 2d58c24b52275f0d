// store_pack: the tiles of a section on their way into a store: as pixels, deflated or as JPEG.
//
// Deflated and JPEG tiles follow each other without gaps, so that a reader needs only where each one starts; how long
// the whole becomes is known at the end. Until then it waits in a spool: a file beside the store that has no name and
// goes away with the process.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libdeflate.h>

#include "store_inside.h"

enum { TILE_BATCH = 64, BATCH_BYTES = 32 << 20, PIECE = 1 << 20 };

// ---- How tiles are kept, as a text ----------------------------------------------------------------

static const char *const sampling_names[] = {[JPEG_420] = "4:2:0", [JPEG_422] = "4:2:2", [JPEG_444] = "4:4:4"};

Status tiles_check_parameters(const StoreParameters *p) {
    if (p->tile_size > STORE_MOST_TILE)
        return status_make(STATUS_INVALID, "a tile size of %zu pixels is outside 0 .. %d", p->tile_size,
                           STORE_MOST_TILE);
    if (p->deflate < 0 || p->deflate > 9)
        return status_make(STATUS_INVALID, "a deflate level of %d is outside 0 .. 9", p->deflate);
    if (p->jpeg < 0 || p->jpeg > 100)
        return status_make(STATUS_INVALID, "a JPEG quality of %d for tiles; it goes from 1 to 100, 0 keeps the pixels",
                           p->jpeg);
    if (p->jpeg && p->deflate)
        return status_make(STATUS_INVALID,
                           "tiles are kept as JPEG or deflated (here quality %d and level %d), not both", p->jpeg,
                           p->deflate);
    if (p->sampling != JPEG_420 && p->sampling != JPEG_422 && p->sampling != JPEG_444)
        return status_make(STATUS_INVALID, "JPEG subsampling %d; 4:2:0, 4:2:2 and 4:4:4 are written", (int)p->sampling);
    return STATUS_OK;
}

void tiles_encoding(const StoreParameters *p, char text[ENCODING_TEXT]) {
    if (p->jpeg) snprintf(text, ENCODING_TEXT, "jpeg %d %s", p->jpeg, sampling_names[p->sampling]);
    else if (p->deflate) snprintf(text, ENCODING_TEXT, "deflate %d", p->deflate);
    else snprintf(text, ENCODING_TEXT, "plain");
}

bool tiles_parse_encoding(const char *text, StoreParameters *out) {
    char again[ENCODING_TEXT], sampling[8] = "";
    out->jpeg = out->deflate = 0;
    out->sampling = JPEG_420;
    if (sscanf(text, "jpeg %d %7s", &out->jpeg, sampling) == 2) {
        for (int s = JPEG_420; s <= JPEG_444; s++)
            if (strcmp(sampling, sampling_names[s]) == 0) out->sampling = (JpegSampling)s;
    } else if (sscanf(text, "deflate %d", &out->deflate) != 1 && strcmp(text, "plain") != 0) return false;
    if (out->jpeg < 0 || out->jpeg > 100 || out->deflate < 0 || out->deflate > 9) return false;
    tiles_encoding(out, again);
    return strcmp(text, again) == 0; // nothing behind it, no other spelling
}

// ---- The spool ----------------------------------------------------------------------------------

// In the store's directory, without a name from the start where the file system can do that.
static Status spool_open(const StoreWriter *writer, int *out_spool) {
    char name[4200];
    const char *slash = strrchr(writer->file.temporary, '/');
    snprintf(name, sizeof name, "%.*s", slash ? (int)(slash - writer->file.temporary) + 1 : 1,
             slash ? writer->file.temporary : ".");
    *out_spool = open(name, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (*out_spool >= 0) return STATUS_OK;
    if (snprintf(name, sizeof name, "%s.tiles", writer->file.temporary) >= (int)sizeof name)
        return status_make(STATUS_INVALID, "the path %s is too long", writer->name);
    *out_spool = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*out_spool < 0) return status_errno(errno, "cannot create %s", name);
    if (unlink(name) != 0) return status_errno(errno, "cannot unlink %s", name);
    return STATUS_OK;
}

static Status spool_add(const StoreWriter *writer, int spool, int64_t at, const uint8_t *data, size_t size) {
    while (size > 0) {
        ssize_t put = pwrite(spool, data, size, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return status_errno(put < 0 ? errno : ENOSPC, "cannot write packed tiles beside %s", writer->name);
        data += put;
        at += put;
        size -= (size_t)put;
    }
    return STATUS_OK;
}

static Status spool_take(const StoreWriter *writer, int spool, int64_t at, uint8_t *data, size_t size) {
    while (size > 0) {
        ssize_t got = pread(spool, data, size, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return status_errno(got < 0 ? errno : EIO, "cannot read packed tiles beside %s", writer->name);
        data += got;
        at += got;
        size -= (size_t)got;
    }
    return STATUS_OK;
}

// ---- Packing ------------------------------------------------------------------------------------

typedef struct PackedTile {
    uint8_t *data;
    size_t size, capacity;
    Status status;
} PackedTile;

typedef struct PackLane { // of one thread
    JpegWriter *jpeg;
    struct libdeflate_compressor *deflate;
} PackLane;

typedef struct Packer {
    const StoreParameters *parameters;
    size_t side, bytes;
    const uint8_t *pixels; // of the batch
    PackedTile tile[TILE_BATCH];
    PackLane *lane; // [threads]
    int threads;
} Packer;

static Status tile_room(PackedTile *tile, size_t size) {
    if (tile->capacity >= size) return STATUS_OK;
    free(tile->data);
    tile->capacity = 0;
    tile->data = malloc(size);
    if (!tile->data) return arena_exhausted(size, 1);
    tile->capacity = size;
    return STATUS_OK;
}

static Status pack_tile(const Packer *packer, PackLane *lane, const uint8_t *pixels, PackedTile *tile) {
    if (packer->parameters->jpeg) {
        const uint8_t *data = NULL;
        size_t size = 0;
        TRY(jpeg_writer_encode(lane->jpeg, pixels, packer->side, packer->side, packer->side * 3, &data, &size));
        TRY(tile_room(tile, size));
        memcpy(tile->data, data, size);
        tile->size = size;
        return STATUS_OK;
    }
    TRY(tile_room(tile, libdeflate_zlib_compress_bound(lane->deflate, packer->bytes)));
    tile->size = libdeflate_zlib_compress(lane->deflate, pixels, packer->bytes, tile->data, tile->capacity);
    return tile->size ? STATUS_OK : status_make(STATUS_INTERNAL, "a tile did not deflate");
}

static void pack_some(void *context, int thread, int64_t first, int64_t last) {
    Packer *packer = context;
    for (int64_t i = first; i < last; i++)
        packer->tile[i].status =
            pack_tile(packer, &packer->lane[thread], packer->pixels + (size_t)i * packer->bytes, &packer->tile[i]);
}

static Status packer_begin(Packer *packer, const StoreParameters *p) {
    *packer = (Packer){.parameters = p, .side = p->tile_size, .bytes = p->tile_size * p->tile_size * 3};
    packer->threads = p->pool ? pool_threads(p->pool) : 1;
    packer->lane = calloc((size_t)packer->threads, sizeof *packer->lane);
    if (!packer->lane) return arena_exhausted((size_t)packer->threads, sizeof *packer->lane);
    for (int t = 0; t < packer->threads; t++) {
        if (p->jpeg) TRY(jpeg_writer_create(p->jpeg, p->sampling, &packer->lane[t].jpeg));
        else if (!(packer->lane[t].deflate = libdeflate_alloc_compressor(p->deflate))) return arena_exhausted(1, 1);
    }
    return STATUS_OK;
}

static void packer_end(Packer *packer) {
    for (int t = 0; packer->lane && t < packer->threads; t++) {
        jpeg_writer_free(packer->lane[t].jpeg);
        if (packer->lane[t].deflate) libdeflate_free_compressor(packer->lane[t].deflate);
    }
    for (int i = 0; i < TILE_BATCH; i++) free(packer->tile[i].data);
    free(packer->lane);
}

// Packs a batch and puts it behind what the spool has.
static Status pack_batch(StoreWriter *writer, Packer *packer, const uint8_t *pixels, size_t count, int spool,
                         int64_t *start, uint32_t *check) {
    Pool *pool = packer->parameters->pool;
    packer->pixels = pixels;
    if (pool) pool_run(pool, pack_some, packer, (int64_t)count);
    else pack_some(packer, 0, 0, (int64_t)count);
    Status status = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        PackedTile *tile = &packer->tile[i];
        if (status == STATUS_OK) status = tile->status;
        else status_drop(tile->status);
        tile->status = STATUS_OK;
        if (status != STATUS_OK) continue;
        status = spool_add(writer, spool, start[i], tile->data, tile->size);
        start[i + 1] = start[i] + (int64_t)tile->size;
        check[i] = libdeflate_crc32(0, tile->data, tile->size);
    }
    return status;
}

// ---- Writing ------------------------------------------------------------------------------------

static size_t batch_of(size_t bytes) {
    size_t batch = BATCH_BYTES / bytes;
    return batch < 1 ? 1 : batch > TILE_BATCH ? TILE_BATCH : batch;
}

static Status write_checks(const char *path, hid_t group, const char *name, const uint32_t *check, hsize_t n) {
    return h5_write(path, group, name, H5T_STD_U32LE, H5T_NATIVE_UINT32, 1, &n, check,
                    (H5Layout){.chunk = &n, .checksum = true});
}

static Status write_plain(StoreWriter *writer, hid_t group, size_t n, const StoreSectionExtra *extra, uint8_t *pixels,
                          uint32_t *check) {
    hsize_t s = writer->parameters.tile_size, dims[4] = {n, s, s, 3};
    size_t bytes = (size_t)(s * s * 3), batch = batch_of(bytes);
    hid_t dataset = -1;
    TRY(h5_dataset_create(writer->name, group, "tiles", H5T_STD_U8LE, 4, dims, (H5Layout){0}, &dataset));
    Status status = STATUS_OK;
    for (size_t first = 0; first < n && status == STATUS_OK; first += batch) {
        size_t count = n - first < batch ? n - first : batch;
        TRY_OR(status, done, extra->tiles(extra->context, first, count, pixels));
        for (size_t i = 0; i < count; i++) check[first + i] = libdeflate_crc32(0, pixels + i * bytes, bytes);
        TRY_OR(status, done, h5_write_rows(writer->name, "tiles", dataset, H5T_NATIVE_UINT8, first, count, pixels));
        status = h5_output_status(&writer->output);
    }
done:
    h5_close(dataset);
    return status == STATUS_OK ? write_checks(writer->name, group, "tiles_check", check, n) : status;
}

// From the spool into the store.
static Status write_packed(StoreWriter *writer, hid_t group, size_t n, int spool, const int64_t *start,
                           const uint32_t *check) {
    const char *path = writer->name;
    hsize_t starts[1] = {n + 1}, total[1] = {(hsize_t)start[n]};
    hid_t packed = -1, dataset = -1;
    uint8_t *piece = malloc(PIECE);
    if (!piece) return arena_exhausted(PIECE, 1);
    Status status = STATUS_OK;
    TRY_OR(status, done, h5_group_create(path, group, "tiles_packed", &packed));
    TRY_OR(status, done,
           h5_write(path, packed, "start", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, starts, start,
                    (H5Layout){.chunk = starts, .checksum = true}));
    TRY_OR(status, done, write_checks(path, packed, "check", check, n));
    TRY_OR(status, done, h5_dataset_create(path, packed, "bytes", H5T_STD_U8LE, 1, total, (H5Layout){0}, &dataset));
    for (int64_t at = 0; at < start[n]; at += PIECE) {
        size_t size = start[n] - at < PIECE ? (size_t)(start[n] - at) : PIECE;
        TRY_OR(status, done, spool_take(writer, spool, at, piece, size));
        TRY_OR(status, done, h5_write_rows(path, "bytes", dataset, H5T_NATIVE_UINT8, (hsize_t)at, size, piece));
        TRY_OR(status, done, h5_output_status(&writer->output));
    }
done:
    h5_close(dataset);
    h5_close(packed);
    free(piece);
    return status;
}

static Status pack_all(StoreWriter *writer, hid_t group, size_t n, const StoreSectionExtra *extra, uint8_t *pixels,
                       uint32_t *check) {
    Packer packer;
    int64_t *start = calloc(n + 1, sizeof *start);
    if (!start) return arena_exhausted(n + 1, sizeof *start);
    int spool = -1;
    Status status = packer_begin(&packer, &writer->parameters);
    if (status == STATUS_OK) status = spool_open(writer, &spool);
    size_t batch = batch_of(packer.bytes);
    for (size_t first = 0; first < n && status == STATUS_OK; first += batch) {
        size_t count = n - first < batch ? n - first : batch;
        status = extra->tiles(extra->context, first, count, pixels);
        if (status == STATUS_OK)
            status = pack_batch(writer, &packer, pixels, count, spool, start + first, check + first);
    }
    if (status == STATUS_OK) status = write_packed(writer, group, n, spool, start, check);
    if (spool >= 0) close(spool);
    packer_end(&packer);
    free(start);
    return status;
}

Status tiles_write(StoreWriter *writer, hid_t group, const Section *section, const StoreSectionExtra *extra) {
    const StoreParameters *p = &writer->parameters;
    size_t n = section->n_spots, bytes = p->tile_size * p->tile_size * 3;
    if (bytes == 0) return STATUS_OK;
    uint8_t *pixels = malloc(batch_of(bytes) * bytes);
    uint32_t *check = malloc(n * sizeof *check);
    Status status = pixels && check ? STATUS_OK : arena_exhausted(batch_of(bytes), bytes);
    if (status == STATUS_OK)
        status = p->jpeg || p->deflate ? pack_all(writer, group, n, extra, pixels, check)
                                       : write_plain(writer, group, n, extra, pixels, check);
    free(pixels);
    free(check);
    return status;
}
