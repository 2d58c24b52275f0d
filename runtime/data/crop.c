// crop: see crop.h. Spots are sorted by band of tiles, then across, and dealt out in runs.
#include "crop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST_SIDE = 16384, RUN = 8, CACHE_BYTES = 48 << 20 };

typedef struct Order {
    int64_t band, x;
    size_t spot;
} Order;

// What one thread keeps from spot to spot.
typedef struct Worker {
    Slide *slide;
    Resampler *resampler; // for whole rectangles
    JpegWriter *writer;
    uint8_t *crop;   // [height][width][3]
    uint8_t *scaled; // [out_height][out_width][3]
} Worker;

typedef struct Work {
    const CropRequest *request;
    const CropSpot *spots;
    size_t count;
    const Order *order;
    const Picture *picture; // JPEG or PNG, decoded once; NULL: each thread opens the slide
    size_t level_width, level_height;
    size_t out_width, out_height;
    Worker *workers;
    atomic_bool stop, cancelled;
    atomic_size_t done;
    pthread_mutex_t lock; // of the two below
    Status status;
    size_t failed; // the spot of `status`
} Work;

static int by_place(const void *a, const void *b) {
    const Order *one = a, *two = b;
    if (one->band != two->band) return one->band < two->band ? -1 : 1;
    if (one->x != two->x) return one->x < two->x ? -1 : 1;
    return one->spot < two->spot ? -1 : one->spot > two->spot;
}

static Status check_request(const CropRequest *request) {
    size_t w = request->width, h = request->height, ow = request->out_width, oh = request->out_height;
    if (w == 0 || h == 0 || w > LARGEST_SIDE || h > LARGEST_SIDE)
        return status_make(STATUS_INVALID, "rectangles of %zu x %zu pixels; sides go from 1 to %d", w, h, LARGEST_SIDE);
    if ((ow == 0) != (oh == 0) || ow > LARGEST_SIDE || oh > LARGEST_SIDE)
        return status_make(STATUS_INVALID, "cannot scale rectangles to %zu x %zu pixels; sides go from 1 to %d", ow, oh,
                           LARGEST_SIDE);
    if (request->pixels && request->clip && ow == 0)
        return status_make(STATUS_INVALID, "clipped rectangles differ in size and need scaling to go into one array");
    return STATUS_OK;
}

static void free_worker(Worker *worker) {
    slide_close(worker->slide);
    resampler_free(worker->resampler);
    jpeg_writer_free(worker->writer);
    free(worker->crop);
    free(worker->scaled);
}

static Status ready(const Work *work, Worker *worker) {
    const CropRequest *request = work->request;
    if (worker->crop) return STATUS_OK;
    if (!work->picture && !worker->slide) {
        SlideOptions options = request->options;
        if (options.cache_bytes == 0) options.cache_bytes = CACHE_BYTES;
        TRY(slide_open(request->path, &options, &worker->slide));
    }
    bool scale = request->out_width && (request->out_width != request->width || request->out_height != request->height);
    if (scale && !worker->resampler)
        TRY(resampler_create(request->width, request->height, NULL, work->out_width, work->out_height, request->filter,
                             &worker->resampler));
    if ((request->jpegs || request->paths) && !worker->writer)
        TRY(jpeg_writer_create(request->quality ? request->quality : JPEG_QUALITY_DEFAULT, request->sampling,
                               &worker->writer));
    if (!worker->scaled) worker->scaled = malloc(work->out_width * work->out_height * 3);
    uint8_t *crop = malloc(request->width * request->height * 3);
    if (!worker->scaled || !crop) {
        free(crop);
        return status_make(STATUS_NO_MEMORY, "no memory for rectangles of %zu x %zu pixels", request->width,
                           request->height);
    }
    worker->crop = crop;
    return STATUS_OK;
}

static Status write_straight(const char *path, const uint8_t *data, size_t size) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor < 0) return status_errno(errno, "cannot write %s", path);
    Status status = STATUS_OK;
    for (size_t done = 0; done < size && status == STATUS_OK;) {
        ssize_t put = write(descriptor, data + done, size - done);
        if (put < 0 && errno != EINTR) status = status_errno(errno, "cannot write %s", path);
        if (put > 0) done += (size_t)put;
    }
    if (close(descriptor) != 0 && status == STATUS_OK) status = status_errno(errno, "cannot write %s", path);
    return status;
}

// The part of the rectangle that lies on the slide.
static Status clip(const Work *work, int64_t *x, int64_t *y, size_t *w, size_t *h) {
    int64_t width = (int64_t)work->level_width, height = (int64_t)work->level_height;
    int64_t left = *x < 0 ? 0 : *x, top = *y < 0 ? 0 : *y;
    int64_t right = *x > width - (int64_t)*w ? width : *x + (int64_t)*w;
    int64_t bottom = *y > height - (int64_t)*h ? height : *y + (int64_t)*h;
    if (left >= right || top >= bottom)
        return status_make(STATUS_INVALID, "the rectangle x %lld, y %lld, %zu x %zu misses the slide of %zu x %zu",
                           (long long)*x, (long long)*y, *w, *h, work->level_width, work->level_height);
    *x = left, *y = top;
    *w = (size_t)(right - left), *h = (size_t)(bottom - top);
    return STATUS_OK;
}

static Status scale_odd(const Work *work, Worker *worker, size_t w, size_t h) {
    Resampler *resampler = NULL;
    TRY(resampler_create(w, h, NULL, work->out_width, work->out_height, work->request->filter, &resampler));
    resampler_run(resampler, worker->crop, w * 3, worker->scaled);
    resampler_free(resampler);
    return STATUS_OK;
}

static Status do_spot(const Work *work, Worker *worker, size_t spot) {
    const CropRequest *request = work->request;
    int64_t x = work->spots[spot].x, y = work->spots[spot].y;
    size_t w = request->width, h = request->height;
    TRY(ready(work, worker));
    if (request->clip) TRY(clip(work, &x, &y, &w, &h));
    if (work->picture)
        TRY_IN(picture_region(work->picture, x, y, w, h, request->border, worker->crop), "%s", request->path);
    else TRY(slide_read(worker->slide, request->level, x, y, w, h, request->border, worker->crop));
    const uint8_t *result = worker->crop;
    size_t ow = w, oh = h;
    if (request->out_width && (w != work->out_width || h != work->out_height)) {
        if (w == request->width && h == request->height)
            resampler_run(worker->resampler, worker->crop, w * 3, worker->scaled);
        else TRY(scale_odd(work, worker, w, h));
        result = worker->scaled;
        ow = work->out_width, oh = work->out_height;
    }
    size_t bytes = ow * oh * 3;
    if (request->pixels) memcpy(request->pixels + spot * bytes, result, bytes);
    if (!worker->writer) return STATUS_OK;
    const uint8_t *data = NULL;
    size_t size = 0;
    TRY(jpeg_writer_encode(worker->writer, result, ow, oh, ow * 3, &data, &size));
    if (request->paths) TRY(write_straight(request->paths[spot], data, size));
    if (!request->jpegs) return STATUS_OK;
    uint8_t *copy = malloc(size);
    if (!copy) return status_make(STATUS_NO_MEMORY, "no memory for a JPEG of %zu bytes", size);
    request->jpegs[spot] = (CropBytes){memcpy(copy, data, size), size};
    return STATUS_OK;
}

static void keep_failure(Work *work, Status status, size_t spot) {
    atomic_store(&work->stop, true);
    pthread_mutex_lock(&work->lock);
    if (work->status == STATUS_OK || spot < work->failed) {
        status_drop(work->status);
        work->status = status;
        work->failed = spot;
    } else {
        status_drop(status);
    }
    pthread_mutex_unlock(&work->lock);
}

static void do_runs(void *context, int thread, int64_t first, int64_t last) {
    Work *work = context;
    for (size_t i = (size_t)first * RUN; i < (size_t)last * RUN && i < work->count; i++) {
        if (atomic_load_explicit(&work->stop, memory_order_relaxed)) return;
        size_t spot = work->order[i].spot;
        Status status = do_spot(work, &work->workers[thread], spot);
        if (status != STATUS_OK) keep_failure(work, status, spot);
        size_t done = atomic_fetch_add_explicit(&work->done, 1, memory_order_relaxed) + 1;
        if (thread != 0 || !work->request->progress) continue;
        if (work->request->progress(work->request->context, (double)done / (double)work->count)) continue;
        atomic_store(&work->cancelled, true);
        atomic_store(&work->stop, true);
    }
}

static Status look_at_slide(Work *work, SlideLevel *level, bool *one_picture) {
    const CropRequest *request = work->request;
    Slide *slide = NULL;
    TRY(slide_open(request->path, &request->options, &slide));
    SlideInfo info = slide_info(slide);
    if (request->level < info.n_levels) *level = slide_level(slide, request->level);
    slide_close(slide);
    if (request->level >= info.n_levels)
        return status_make(STATUS_INVALID, "%s: there is no level %zu; the slide has %zu", request->path,
                           request->level, info.n_levels);
    work->level_width = level->width;
    work->level_height = level->height;
    *one_picture = info.format == SLIDE_JPEG || info.format == SLIDE_PNG;
    return STATUS_OK;
}

// What is common to all threads: the level's size, the order of the spots, and the picture where it is decoded once.
static Status prepare(Work *work, Picture *picture, Order **out_order) {
    const CropRequest *request = work->request;
    SlideLevel level = {.tile_height = 1};
    bool one_picture = request->picture != NULL;
    if (one_picture) {
        work->picture = request->picture;
        work->level_width = request->picture->width;
        work->level_height = request->picture->height;
    } else {
        TRY(look_at_slide(work, &level, &one_picture));
        size_t whole = request->options.whole_bytes ? request->options.whole_bytes : (size_t)512 << 20;
        if (one_picture && level.height <= whole / 3 / level.width) {
            TRY(image_load(request->path, whole, picture));
            work->picture = picture;
        }
    }
    Order *order = malloc(work->count * sizeof *order);
    if (!order) return status_make(STATUS_NO_MEMORY, "no memory for %zu spots", work->count);
    int64_t band = one_picture ? 1 : (int64_t)level.tile_height;
    for (size_t i = 0; i < work->count; i++) order[i] = (Order){work->spots[i].y / band, work->spots[i].x, i};
    qsort(order, work->count, sizeof *order, by_place);
    work->order = *out_order = order;
    return STATUS_OK;
}

Status crop_spots(const CropRequest *request, const CropSpot *spots, size_t count, Pool *pool) {
    TRY_IN(check_request(request), "%s", request->path);
    if (request->jpegs) memset(request->jpegs, 0, count * sizeof *request->jpegs);
    if (count == 0) return STATUS_OK;
    int threads = pool ? pool_threads(pool) : 1;
    Work work = {.request = request,
                 .spots = spots,
                 .count = count,
                 .out_width = request->out_width ? request->out_width : request->width,
                 .out_height = request->out_height ? request->out_height : request->height,
                 .lock = PTHREAD_MUTEX_INITIALIZER};
    Picture picture = {0};
    Order *order = NULL;
    work.workers = calloc((size_t)threads, sizeof *work.workers);
    Status status =
        work.workers ? prepare(&work, &picture, &order) : status_make(STATUS_NO_MEMORY, "no memory to crop");
    if (status == STATUS_OK) {
        int64_t runs = (int64_t)((count + RUN - 1) / RUN);
        if (pool) pool_run(pool, do_runs, &work, runs);
        else do_runs(&work, 0, 0, runs);
        if (work.status == STATUS_OK && atomic_load(&work.cancelled))
            status = status_make(STATUS_CANCELLED, "stopped while cutting tiles");
        else if (request->names && work.status != STATUS_OK)
            status = status_context(work.status, "spot %s", request->names[work.failed]);
        else status = status_context(work.status, "spot %zu", work.failed);
    }
    if (status != STATUS_OK && request->jpegs)
        for (size_t i = 0; i < count; i++) {
            free(request->jpegs[i].data);
            request->jpegs[i] = (CropBytes){0};
        }
    for (int t = 0; t < threads && work.workers; t++) free_worker(&work.workers[t]);
    free(work.workers);
    free(order);
    picture_free(&picture);
    return status;
}
