// h5_raw: see h5_raw.h.
#include "h5_raw.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "h5.h"
#include "lzf.h"

void raw_describe(const ForeignFile *f, hid_t dataset, uint64_t count, size_t size, H5Raw *out) {
    *out = (H5Raw){.f = f, .dataset = dataset, .count = count, .size = size};
    if (H5Iget_name(dataset, out->name, sizeof out->name) < 0) strcpy(out->name, "?");
    hid_t create = H5Dget_create_plist(dataset), of_file = H5Fget_create_plist(f->file);
    H5D_layout_t layout = create < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(create);
    hsize_t chunk = 0, userblock = 1;
    if (of_file < 0 || H5Pget_userblock(of_file, &userblock) < 0) userblock = 1;
    if (layout == H5D_CONTIGUOUS && userblock == 0) {
        haddr_t at = H5Dget_offset(dataset);
        out->contiguous = at != HADDR_UNDEF && at < f->bytes && count * size <= f->bytes - at;
        out->offset = at;
    } else if (layout == H5D_CHUNKED && H5Pget_chunk(create, 1, &chunk) == 1 && chunk > 0 &&
               chunk <= LARGEST_CHUNK / size) {
        int filters = H5Pget_nfilters(create);
        out->chunked = filters >= 0 && filters <= 4;
        out->chunk = chunk;
        out->filters = filters;
        for (int i = 0; out->chunked && i < filters; i++) {
            unsigned flags = 0, config = 0;
            unsigned value[1] = {0};
            size_t values = 1;
            out->filter[i] = H5Pget_filter2(create, (unsigned)i, &flags, &values, value, 0, NULL, &config);
            out->chunked = out->filter[i] == H5Z_FILTER_DEFLATE || out->filter[i] == LZF_FILTER ||
                           (out->filter[i] == H5Z_FILTER_SHUFFLE && values >= 1 && value[0] == size);
        }
        out->shuffled = filters > 0 && out->filter[0] == H5Z_FILTER_SHUFFLE && size > 1;
    }
    H5Eclear2(H5E_DEFAULT);
    h5_close(of_file);
    h5_close(create);
}

void raw_lane_free(RawLane *lane) {
    free(lane->place);
    free(lane->bytes);
    free(lane->scratch[0]);
    free(lane->scratch[1]);
    if (lane->inflate) libdeflate_free_decompressor(lane->inflate);
    *lane = (RawLane){0};
}

// ---- Where --------------------------------------------------------------------------------------

Status raw_locate(const H5Raw *r, RawLane *lane, uint64_t first, uint64_t count, bool *out_there) {
    lane->first = first;
    lane->count = count;
    lane->places = 0;
    *out_there = true;
    if (!r->chunked || count == 0) return STATUS_OK;
    uint64_t from = first / r->chunk, to = (first + count - 1) / r->chunk + 1;
    if (to - from > lane->capacity) {
        free(lane->place);
        lane->capacity = (size_t)(to - from);
        lane->place = calloc(lane->capacity, sizeof *lane->place);
        if (!lane->place) {
            lane->capacity = 0;
            return arena_exhausted((size_t)(to - from), sizeof *lane->place);
        }
    }
    for (uint64_t c = from; c < to; c++) {
        H5Place *place = &lane->place[lane->places++];
        if (r->known) {
            *place = r->known[c];
        } else if (!h5_driver_chunk(&r->f->driver, r->dataset, c * r->chunk, place)) {
            *out_there = false;
            return STATUS_OK;
        }
        if (place->bytes > r->f->bytes || place->offset > r->f->bytes - place->bytes)
            return status_make(
                STATUS_MALFORMED, "%s: the chunk of '%s' at number %llu claims %llu bytes at %llu; the file has %llu",
                r->f->path, r->name, (unsigned long long)(c * r->chunk), (unsigned long long)place->bytes,
                (unsigned long long)place->offset, (unsigned long long)r->f->bytes);
    }
    return STATUS_OK;
}

// ---- What ---------------------------------------------------------------------------------------

static Status read_bytes(const H5Raw *r, uint64_t offset, size_t bytes, unsigned char *out) {
    int descriptor = r->f->descriptor;
    while (bytes > 0) {
        ssize_t got = pread(descriptor, out, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return status_errno(errno, "cannot read '%s' of %s", r->name, r->f->path);
        if (got == 0) return status_make(STATUS_MALFORMED, "%s: the file ends within '%s'", r->f->path, r->name);
        out += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return STATUS_OK;
}

static Status make_room(unsigned char **buffer, size_t *room, size_t bytes) {
    if (*buffer && bytes <= *room) return STATUS_OK;
    free(*buffer);
    *buffer = malloc(bytes + 1);
    *room = *buffer ? bytes : 0;
    return *buffer ? STATUS_OK : arena_exhausted(bytes, 1);
}

// Copies each byte plane of elements first .. first + count - 1 to its place.
void raw_unshuffle(const unsigned char *in, size_t elements, size_t size, size_t first, size_t count,
                   unsigned char *out) {
    enum { BLOCK = 1024 }; // the part written stays in the first cache
    for (size_t from = 0; from < count; from += BLOCK) {
        size_t to = from + BLOCK < count ? from + BLOCK : count;
        for (size_t b = 0; b < size; b++) {
            const unsigned char *plane = in + b * elements + first;
            for (size_t i = from; i < to; i++) out[i * size + b] = plane[i];
        }
    }
}

// Undoes the filters but for a first shuffle, which is left to the taker; the last step writes to `target` if given.
static bool undo(const H5Raw *r, RawLane *lane, uint32_t mask, const unsigned char *now, size_t size,
                 unsigned char *target, const unsigned char **out, bool *out_planes) {
    size_t bytes = (size_t)r->chunk * r->size;
    int steps = 0, step = 0;
    *out_planes = r->shuffled && !(mask & 1);
    if (*out_planes) target = NULL;
    for (int i = *out_planes; i < r->filters; i++) steps += !(mask >> i & 1);
    for (int i = r->filters - 1; i >= *out_planes; i--) {
        if (mask >> i & 1) continue;
        unsigned char *to = ++step == steps && target ? target : lane->scratch[step & 1];
        size_t got = 0;
        if (r->filter[i] == H5Z_FILTER_DEFLATE) {
            if (!lane->inflate && !(lane->inflate = libdeflate_alloc_decompressor())) return false;
            if (libdeflate_zlib_decompress(lane->inflate, now, size, to, bytes, &got) != LIBDEFLATE_SUCCESS)
                return false;
            size = got;
        } else if (r->filter[i] == LZF_FILTER) {
            if (!lzf_expand(now, size, to, bytes, &got)) return false;
            size = got;
        } else {
            if (size != bytes) return false;
            raw_unshuffle(now, (size_t)r->chunk, r->size, 0, (size_t)r->chunk, to);
        }
        now = to;
    }
    *out = now;
    return size == bytes;
}

static Status read_contiguous(const H5Raw *r, RawLane *lane, unsigned char *straight, RawTake take, void *context) {
    size_t bytes = (size_t)lane->count * r->size;
    if (!straight) {
        TRY(make_room(&lane->bytes, &lane->room, bytes));
        straight = lane->bytes;
    }
    TRY(read_bytes(r, r->offset + lane->first * r->size, bytes, straight));
    if (take) take(context, &(RawPiece){lane->first, (size_t)lane->count, 0, 0, straight});
    return STATUS_OK;
}

Status raw_read(const H5Raw *r, RawLane *lane, unsigned char *straight, RawTake take, void *context) {
    if (lane->count == 0) return STATUS_OK;
    if (r->contiguous) return read_contiguous(r, lane, straight, take, context);
    size_t bytes = (size_t)r->chunk * r->size;
    if (r->filters > 0 && bytes > lane->scratch_room) {
        lane->scratch_room = 0;
        for (int i = 0; i < 2; i++) {
            size_t room = 0;
            TRY(make_room(&lane->scratch[i], &room, bytes));
        }
        lane->scratch_room = bytes;
    }
    uint64_t chunk = lane->first / r->chunk, end = lane->first + lane->count;
    for (size_t i = 0; i < lane->places; i++, chunk++) {
        const H5Place *place = &lane->place[i];
        uint64_t begin = chunk * r->chunk, from = begin > lane->first ? begin : lane->first;
        uint64_t to = begin + r->chunk < end ? begin + r->chunk : end;
        bool whole = to - from == r->chunk, planes = false;
        unsigned char *here = straight ? straight + (from - lane->first) * r->size : NULL;
        const unsigned char *result = NULL;
        bool plain = r->filters == 0 || (place->mask & ((1u << r->filters) - 1)) == (1u << r->filters) - 1;
        size_t skip = (size_t)(from - begin), count = (size_t)(to - from);
        bool sound = true;
        if (plain && (sound = place->bytes == bytes)) {
            // Only what is wanted of it.
            if (!here) TRY(make_room(&lane->bytes, &lane->room, bytes));
            result = here ? here : lane->bytes;
            TRY(read_bytes(r, place->offset + skip * r->size, count * r->size, here ? here : lane->bytes));
            skip = 0;
        } else if (!plain) {
            TRY(make_room(&lane->bytes, &lane->room, (size_t)place->bytes));
            TRY(read_bytes(r, place->offset, (size_t)place->bytes, lane->bytes));
            sound =
                undo(r, lane, place->mask, lane->bytes, (size_t)place->bytes, whole ? here : NULL, &result, &planes);
        }
        if (!sound)
            return status_make(STATUS_MALFORMED,
                               "%s: the chunk of '%s' at number %llu is damaged: its compressed bytes do "
                               "not expand to %llu numbers; copy the file again",
                               r->f->path, r->name, (unsigned long long)begin, (unsigned long long)r->chunk);
        if (here && planes) {
            raw_unshuffle(result, (size_t)r->chunk, r->size, skip, count, here);
        } else if (here && result != here) {
            memcpy(here, result + skip * r->size, count * r->size);
        }
        if (here) result = here, skip = 0, planes = false;
        if (take) take(context, &(RawPiece){from, count, skip, planes ? (size_t)r->chunk : 0, result});
    }
    return STATUS_OK;
}
