// kmeans: see kmeans.h. Distances are computed from the centred rows, as scikit-learn does, for accuracy far from 0.
#include "kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/random.h"

enum { BLOCK = 256 };

typedef struct Run {
    const double *x; // [rows][width] centred
    size_t rows, width, clusters, blocks;
    double *centre, *next;                // [clusters][width]
    double *weight;                       // [clusters] rows of each, new
    int32_t *label, *before;              // [rows]
    double *square;                       // [rows] distance to the own centre
    double *part;                         // [blocks][clusters][width + 1] sums and counts of a block
    double *closest, *trial, *best_trial; // [rows] k-means++
    const double *candidate;              // the row k-means++ tries
    Pool *pool;
} Run;

static double distance(const double *a, const double *b, size_t width) {
    double sum = 0;
    for (size_t j = 0; j < width; j++) sum += (a[j] - b[j]) * (a[j] - b[j]);
    return sum;
}

static int32_t nearest(const double *row, const double *centre, size_t clusters, size_t width, double *out_square) {
    int32_t best = 0;
    double least = INFINITY;
    for (size_t k = 0; k < clusters; k++) {
        double d = distance(row, centre + k * width, width);
        if (d < least) {
            least = d;
            best = (int32_t)k;
        }
    }
    *out_square = least;
    return best;
}

static void for_blocks(Run *run, PoolTask task) {
    if (run->pool) pool_run(run->pool, task, run, (int64_t)run->blocks);
    else task(run, 0, 0, (int64_t)run->blocks);
}

static size_t block_end(const Run *run, int64_t block) {
    size_t end = ((size_t)block + 1) * BLOCK;
    return end < run->rows ? end : run->rows;
}

// Labels the rows of some blocks and adds them up per block.
static void assign_blocks(void *context, int thread, int64_t first, int64_t last) {
    Run *run = context;
    size_t stride = run->width + 1;
    (void)thread;
    for (int64_t b = first; b < last; b++) {
        double *part = run->part + (size_t)b * run->clusters * stride;
        memset(part, 0, run->clusters * stride * sizeof *part);
        for (size_t r = (size_t)b * BLOCK; r < block_end(run, b); r++) {
            const double *row = run->x + r * run->width;
            int32_t k = nearest(row, run->centre, run->clusters, run->width, &run->square[r]);
            run->label[r] = k;
            double *sum = part + (size_t)k * stride;
            for (size_t j = 0; j < run->width; j++) sum[j] += row[j];
            sum[run->width]++;
        }
    }
}

// Distances of all rows to the candidate, no farther than to the closest centre so far.
static void trial_blocks(void *context, int thread, int64_t first, int64_t last) {
    Run *run = context;
    (void)thread;
    for (int64_t b = first; b < last; b++)
        for (size_t r = (size_t)b * BLOCK; r < block_end(run, b); r++) {
            double d = distance(run->x + r * run->width, run->candidate, run->width);
            run->trial[r] = d < run->closest[r] ? d : run->closest[r];
        }
}

// ---- The start ----------------------------------------------------------------------------------

static double unit53(RandomStream *stream) {
    uint64_t high = random_word(stream) >> 5, low = random_word(stream) >> 6;
    return ((double)high * 67108864.0 + (double)low) / 9007199254740992.0;
}

static double sum_of(const double *value, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += value[i];
    return sum;
}

// The row at which the running sum of `closest` passes `point`.
static size_t row_at(const Run *run, double point) {
    double sum = 0;
    for (size_t r = 0; r < run->rows; r++) {
        sum += run->closest[r];
        if (sum > point) return r;
    }
    return run->rows - 1;
}

static void plus_plus(Run *run, RandomStream *stream) {
    size_t tries = 2 + (size_t)log((double)run->clusters), width = run->width;
    size_t row = (size_t)random_below(stream, run->rows);
    for (size_t r = 0; r < run->rows; r++) run->closest[r] = INFINITY;
    memcpy(run->centre, run->x + row * width, width * sizeof *run->centre);
    run->candidate = run->x + row * width;
    for_blocks(run, trial_blocks);
    memcpy(run->closest, run->trial, run->rows * sizeof *run->closest);
    for (size_t k = 1; k < run->clusters; k++) {
        double total = sum_of(run->closest, run->rows), least = INFINITY;
        size_t best = 0;
        for (size_t t = 0; t < tries; t++) {
            size_t tried = row_at(run, unit53(stream) * total);
            run->candidate = run->x + tried * width;
            for_blocks(run, trial_blocks);
            double left = sum_of(run->trial, run->rows);
            if (left < least) {
                least = left;
                best = tried;
                double *swap = run->trial;
                run->trial = run->best_trial;
                run->best_trial = swap;
            }
        }
        memcpy(run->centre + k * width, run->x + best * width, width * sizeof *run->centre);
        memcpy(run->closest, run->best_trial, run->rows * sizeof *run->closest);
    }
}

// ---- Lloyd --------------------------------------------------------------------------------------

static void add_blocks(Run *run) {
    size_t stride = run->width + 1;
    memset(run->next, 0, run->clusters * run->width * sizeof *run->next);
    memset(run->weight, 0, run->clusters * sizeof *run->weight);
    for (size_t b = 0; b < run->blocks; b++)
        for (size_t k = 0; k < run->clusters; k++) {
            const double *part = run->part + (b * run->clusters + k) * stride;
            for (size_t j = 0; j < run->width; j++) run->next[k * run->width + j] += part[j];
            run->weight[k] += part[run->width];
        }
}

// Every empty cluster takes the farthest row that is not the last of its own cluster.
static void fill_empty(Run *run) {
    for (size_t k = 0; k < run->clusters; k++) {
        if (run->weight[k] > 0) continue;
        size_t far = run->rows;
        for (size_t r = 0; r < run->rows; r++)
            if (run->weight[run->label[r]] > 1 && (far == run->rows || run->square[r] > run->square[far])) far = r;
        if (far == run->rows) return;
        const double *row = run->x + far * run->width;
        double *from = run->next + (size_t)run->label[far] * run->width, *to = run->next + k * run->width;
        for (size_t j = 0; j < run->width; j++) {
            from[j] -= row[j];
            to[j] = row[j];
        }
        run->weight[run->label[far]]--;
        run->weight[k] = 1;
        run->label[far] = (int32_t)k;
        run->square[far] = 0;
    }
}

static double move_centres(Run *run) {
    double moved = 0;
    for (size_t k = 0; k < run->clusters; k++)
        for (size_t j = 0; j < run->width; j++) {
            double *centre = &run->centre[k * run->width + j];
            double next = run->weight[k] > 0 ? run->next[k * run->width + j] / run->weight[k] : *centre;
            moved += (next - *centre) * (next - *centre);
            *centre = next;
        }
    return moved;
}

static void lloyd(Run *run, size_t iterations, double tolerance, Kmeans *out) {
    bool strict = false;
    out->converged = false;
    memset(run->before, 0xFF, run->rows * sizeof *run->before);
    for (out->iterations = 0; out->iterations < iterations && !out->converged;) {
        for_blocks(run, assign_blocks);
        add_blocks(run);
        fill_empty(run);
        double moved = move_centres(run);
        out->iterations++;
        strict = memcmp(run->label, run->before, run->rows * sizeof *run->label) == 0;
        out->converged = strict || moved <= tolerance;
        memcpy(run->before, run->label, run->rows * sizeof *run->label);
    }
    if (!strict) for_blocks(run, assign_blocks); // labels that belong to the last centres
    out->inertia = 0;
    for (size_t r = 0; r < run->rows; r++)
        out->inertia += distance(run->x + r * run->width, run->centre + (size_t)run->label[r] * run->width, run->width);
}

// ---- Together -----------------------------------------------------------------------------------

void kmeans_free(Kmeans *result) {
    free(result->centre);
    free(result->label);
    *result = (Kmeans){0};
}

static void run_free(Run *run, double *x) {
    free(x);
    free(run->centre);
    free(run->next);
    free(run->weight);
    free(run->label);
    free(run->before);
    free(run->square);
    free(run->part);
    free(run->closest);
    free(run->trial);
    free(run->best_trial);
}

static bool run_create(Run *run) {
    size_t n = run->rows + 1, k = run->clusters * run->width + 1;
    run->centre = calloc(k, sizeof *run->centre);
    run->next = calloc(k, sizeof *run->next);
    run->weight = calloc(run->clusters + 1, sizeof *run->weight);
    run->label = calloc(n, sizeof *run->label);
    run->before = calloc(n, sizeof *run->before);
    run->square = calloc(n, sizeof *run->square);
    run->part = calloc(run->blocks * run->clusters * (run->width + 1) + 1, sizeof *run->part);
    run->closest = calloc(n, sizeof *run->closest);
    run->trial = calloc(n, sizeof *run->trial);
    run->best_trial = calloc(n, sizeof *run->best_trial);
    return run->centre && run->next && run->weight && run->label && run->before && run->square && run->part &&
           run->closest && run->trial && run->best_trial;
}

// Centred copy and the mean variance of the columns.
static double centre_rows(const double *values, size_t rows, size_t width, double *mean, double *x) {
    double variance = 0;
    memset(mean, 0, width * sizeof *mean);
    for (size_t i = 0; i < rows * width; i++) mean[i % width] += values[i];
    for (size_t j = 0; j < width; j++) mean[j] /= (double)rows;
    for (size_t i = 0; i < rows * width; i++) {
        x[i] = values[i] - mean[i % width];
        variance += x[i] * x[i];
    }
    return variance / (double)rows / (double)width;
}

static void restarts(Run *run, const KmeansOptions *options, double variance, const double *mean, Kmeans *out) {
    size_t times = options->start ? 1 : options->restarts ? options->restarts : 10;
    double tolerance = options->tolerance < 0 ? -1 : (options->tolerance > 0 ? options->tolerance : 1e-4) * variance;
    out->inertia = INFINITY;
    for (size_t t = 0; t < times; t++) {
        Kmeans one = {0};
        RandomStream stream = random_stream(options->seed, (uint32_t)t);
        if (options->start)
            for (size_t i = 0; i < run->clusters * run->width; i++)
                run->centre[i] = options->start[i] - mean[i % run->width];
        else plus_plus(run, &stream);
        lloyd(run, options->iterations ? options->iterations : 300, tolerance, &one);
        if (!(one.inertia < out->inertia)) continue;
        out->inertia = one.inertia;
        out->iterations = one.iterations;
        out->converged = one.converged;
        memcpy(out->label, run->label, run->rows * sizeof *out->label);
        for (size_t i = 0; i < run->clusters * run->width; i++) out->centre[i] = run->centre[i] + mean[i % run->width];
    }
}

Status kmeans_fit(const double *values, size_t rows, size_t width, const KmeansOptions *options, Kmeans *out) {
    size_t clusters = options->clusters;
    *out = (Kmeans){.clusters = clusters, .width = width, .rows = rows};
    if (clusters < 1 || clusters > rows || clusters > INT32_MAX || width < 1)
        return status_make(STATUS_INVALID, "%zu clusters of %zu rows and %zu columns; use 1 to %zu clusters", clusters,
                           rows, width, rows);
    for (size_t i = 0; i < rows * width; i++)
        if (!isfinite(values[i]))
            return status_make(STATUS_INVALID, "row %zu, column %zu holds %g; k-means needs finite numbers", i / width,
                               i % width, values[i]);
    for (size_t i = 0; options->start && i < clusters * width; i++)
        if (!isfinite(options->start[i]))
            return status_make(STATUS_INVALID, "start of cluster %zu holds %g", i / width, options->start[i]);
    double *x = malloc((rows * width + width) * sizeof *x);
    Run run = {.x = x, .rows = rows, .width = width, .clusters = clusters, .pool = options->pool};
    run.blocks = (rows + BLOCK - 1) / BLOCK;
    bool ok = run_create(&run);
    out->centre = malloc(clusters * width * sizeof *out->centre);
    out->label = malloc(rows * sizeof *out->label);
    Status status = STATUS_OK;
    if (!ok || !x || !out->centre || !out->label) {
        status = status_make(STATUS_NO_MEMORY, "no memory for k-means on %zu rows of %zu columns", rows, width);
        kmeans_free(out);
    } else {
        double *mean = x + rows * width, variance = centre_rows(values, rows, width, mean, x);
        restarts(&run, options, variance, mean, out);
    }
    run_free(&run, x);
    return status;
}

void kmeans_assign(const Kmeans *fitted, const double *values, size_t rows, int32_t *label) {
    double square;
    for (size_t r = 0; r < rows; r++)
        label[r] = nearest(values + r * fitted->width, fitted->centre, fitted->clusters, fitted->width, &square);
}
