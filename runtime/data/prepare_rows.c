// prepare_rows: a level of a slide from the top to the bottom. Tiles and strips are decoded a band at a time, on all
// threads, each with the slide opened for itself; JPEG and PNG can only be decoded row by row.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "prepare_inside.h"

static const size_t SMALL_CACHE = (size_t)4 << 20; // no tile is wanted twice
static const size_t LARGEST_BAND = (size_t)512 << 20;
enum { FEWEST_ROWS = 64 };

struct RowReader {
    Slide *slide; // the caller's
    size_t level, width, height;
    // Blocks are the file's tiles; a band is `deep` rows of them, `across` in each.
    size_t block_width, block_height, across, deep;
    size_t first, rows; // of the band that is decoded
    uint8_t *band;      // blocks one behind the other; NULL: the slide is read directly
    Pool *pool;
    Slide **slides; // [threads], opened when needed
    int threads;
    pthread_mutex_t lock; // of `status`
    Status status;
};

static Status read_block(RowReader *r, Slide *slide, size_t block) {
    size_t x = block % r->across * r->block_width, y = r->first + block / r->across * r->block_height;
    size_t w = r->width - x < r->block_width ? r->width - x : r->block_width;
    size_t h = r->first + r->rows - y < r->block_height ? r->first + r->rows - y : r->block_height;
    return slide_read(slide, r->level, (int64_t)x, (int64_t)y, w, h, SLIDE_WHITE,
                      r->band + block * r->block_width * r->block_height * 3);
}

static void read_blocks(void *context, int thread, int64_t first, int64_t last) {
    RowReader *r = context;
    Status status = STATUS_OK;
    if (!r->slides[thread])
        status = slide_open(slide_path(r->slide), &(SlideOptions){.cache_bytes = SMALL_CACHE, .whole_bytes = 1},
                            &r->slides[thread]);
    for (int64_t block = first; block < last && status == STATUS_OK; block++)
        status = read_block(r, r->slides[thread], (size_t)block);
    if (status == STATUS_OK) return;
    pthread_mutex_lock(&r->lock);
    if (r->status == STATUS_OK) r->status = status;
    else status_drop(status);
    pthread_mutex_unlock(&r->lock);
}

static Status read_band(RowReader *r, size_t first) {
    size_t most = r->deep * r->block_height;
    r->first = first;
    r->rows = r->height - first < most ? r->height - first : most;
    size_t blocks = r->across * ((r->rows + r->block_height - 1) / r->block_height);
    if (r->pool) pool_run(r->pool, read_blocks, r, (int64_t)blocks);
    else read_blocks(r, 0, 0, (int64_t)blocks);
    Status status = r->status;
    r->status = STATUS_OK;
    return status;
}

// One row out of the blocks of the band.
static void gather_row(const RowReader *r, size_t row, uint8_t *rgb) {
    size_t block_bytes = r->block_width * r->block_height * 3;
    const uint8_t *block = r->band + row / r->block_height * r->across * block_bytes;
    for (size_t x = 0; x < r->width; x += r->block_width, block += block_bytes) {
        size_t w = r->width - x < r->block_width ? r->width - x : r->block_width;
        memcpy(rgb + x * 3, block + row % r->block_height * w * 3, w * 3);
    }
}

Status row_reader_rows(void *context, size_t first, size_t count, uint8_t *rgb) {
    RowReader *r = context;
    if (!r->band) return slide_read(r->slide, r->level, 0, (int64_t)first, r->width, count, SLIDE_WHITE, rgb);
    for (size_t y = first; y < first + count; y++, rgb += r->width * 3) {
        if (y < r->first || y >= r->first + r->rows) TRY(read_band(r, y));
        gather_row(r, y - r->first, rgb);
    }
    return STATUS_OK;
}

Status row_reader_open(Slide *slide, size_t level, Pool *pool, RowReader **out) {
    SlideInfo info = slide_info(slide);
    SlideLevel l = slide_level(slide, level);
    RowReader *r = calloc(1, sizeof *r);
    *out = r;
    if (!r) return arena_exhausted(1, sizeof *r);
    *r = (RowReader){.slide = slide, .level = level, .width = l.width, .height = l.height, .pool = pool};
    pthread_mutex_init(&r->lock, NULL);
    r->threads = pool ? pool_threads(pool) : 1;
    r->block_width = l.tiled ? l.tile_width : l.width;
    r->block_height = l.tile_height;
    r->across = (l.width + r->block_width - 1) / r->block_width;
    r->deep = (FEWEST_ROWS + r->block_height - 1) / r->block_height;
    bool from_the_top = info.format == SLIDE_JPEG || info.format == SLIDE_PNG;
    size_t bytes = r->across * r->deep * r->block_width * r->block_height * 3;
    if (from_the_top || bytes > LARGEST_BAND) return STATUS_OK;
    r->slides = calloc((size_t)r->threads, sizeof *r->slides);
    r->band = malloc(bytes);
    return r->slides && r->band ? STATUS_OK : arena_exhausted(bytes, 1);
}

void row_reader_close(RowReader *r) {
    if (!r) return;
    for (int t = 0; r->slides && t < r->threads; t++) slide_close(r->slides[t]);
    pthread_mutex_destroy(&r->lock);
    free(r->slides);
    free(r->band);
    free(r);
}
