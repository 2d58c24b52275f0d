// Checks the committed references themselves, without stmc: that they open, that the pattern in C gives the
// weights the recording used, that values known beforehand stand in them, and that small cases
// recomputed here in plain loops agree (linear, convolution, batch norm, AdamW).
//
// usage: reference_test DIRECTORY      exit status 0 when all checks hold, 1 otherwise
#include "pattern.h"
#include "reference.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    int checks, failures;
} Tally;

static void check(Tally *tally, int good, const char *what, double found, double limit) {
    tally->checks++;
    if (good) return;
    tally->failures++;
    printf("FAIL %s: found %.17g, limit or expected %.17g\n", what, found, limit);
}

static const double *need(Tally *tally, const Reference *r, const char *name, int64_t count) {
    const double *data = reference_f64(r, name, count);
    check(tally, data != NULL, name, 0, (double)count);
    return data;
}

// The 288 initial values: same counts, and every recorded element equal to the last bit.
static void check_weights(Tally *tally, const Reference *r) {
    const ReferenceTensor *names = reference_find(r, "names");
    const double *init = need(tally, r, "init", 288 * REFERENCE_SUMMARY);
    const int64_t *shape = reference_i64(r, "shape", 288 * 5), *kind = reference_i64(r, "kind", 288);
    check(tally, names && shape && kind, "names, shape, kind are present", 0, 1);
    if (!names || !init || !shape || !kind) return;
    const char *at = names->data, *end = at + names->count;
    int64_t parameters = 0;
    for (int row = 0; row < 288 && at < end; row++) {
        char name[128] = {0};
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        check(tally, stop && stop - at < (int)sizeof name, "a name ends with a newline", row, 288);
        if (!stop || stop - at >= (int)sizeof name) return;
        memcpy(name, at, (size_t)(stop - at));
        at = stop + 1;

        double scale, offset, mine[REFERENCE_SUMMARY], norm, element;
        int64_t count = (int64_t)init[row * REFERENCE_SUMMARY];
        check(tally, !pattern_rule(name, (int)shape[row * 5], shape + row * 5 + 1, &scale, &offset), name, 0, 0);
        float *values = malloc((size_t)count * sizeof *values);
        if (!values) {
            check(tally, 0, "out of memory", (double)count, 0);
            return;
        }
        uint64_t key = pattern_key(name);
        for (int64_t i = 0; i < count; i++) values[i] = pattern_value(key, (uint64_t)i, scale, offset);
        reference_summary_f32(values, count, mine);
        reference_distance(init + row * REFERENCE_SUMMARY, mine, &norm, &element);
        check(tally, element == 0, name, element, 0);
        check(tally, norm < 1e-12, name, norm, 1e-12);
        if (kind[row] <= 1) parameters += count;
        free(values);
    }
    check(tally, parameters == 6679843, "parameters of HEVisum", (double)parameters, 6679843);
    check(tally, at == end, "bytes after the last name", (double)(end - at), 0);
}

static void check_hevisum(Tally *tally, const char *directory) {
    char path[1024], why[512];
    snprintf(path, sizeof path, "%s/hevisum.safetensors", directory);
    Reference *r = reference_open(path, why, sizeof why);
    if (!r) {
        printf("FAIL %s\n", why);
        tally->checks++, tally->failures++;
        return;
    }
    check_weights(tally, r);
    // The loss that the recorded outputs and the labels of the pattern give must be the recorded loss.
    static const char *modes[] = {"eval", "train"};
    for (int m = 0; m < 2; m++) {
        char name[64];
        snprintf(name, sizeof name, "f64/%s/output", modes[m]);
        const double *output = need(tally, r, name, 8 * 35);
        snprintf(name, sizeof name, "f64/%s/loss", modes[m]);
        const double *loss = need(tally, r, name, 1);
        double sum = 0;
        for (unsigned i = 0; output && i < 8 * 35; i++) {
            double d = output[i] - (double)pattern_rank(i / 35, i % 35);
            sum += d * d;
        }
        if (loss) check(tally, fabs(sum / (8 * 35) - *loss) < 1e-10 * *loss, name, sum / (8 * 35), *loss);
    }
    const double *first = need(tally, r, "f64/steps/loss", 10), *train = need(tally, r, "f64/train/loss", 1);
    if (first && train)
        check(tally, first[0] == train[0], "first step's loss is the training-mode loss", first[0], train[0]);
    reference_close(r);
}

static void check_close(Tally *tally, const char *what, const double *found, const double *expected, int64_t n,
                        double limit) {
    double worst = expected ? 0 : INFINITY;
    for (int64_t i = 0; expected && i < n; i++) worst = fmax(worst, fabs(found[i] - expected[i]));
    check(tally, worst <= limit, what, worst, limit);
}

// conv2d.all: stride, padding, dilation and groups all different from their defaults.
static void check_convolution(Tally *tally, const Reference *r) {
    enum { C = 4, H = 11, W = 10, O = 6, KH = 3, KW = 2, OH = 5, OW = 11, CG = 2 };
    const double *x = need(tally, r, "conv2d.all/input/x", C * H * W);
    const double *weight = need(tally, r, "conv2d.all/param/weight", O * CG * KH * KW);
    const double *bias = need(tally, r, "conv2d.all/param/bias", O);
    const double *g = need(tally, r, "conv2d.all/cotangent/y", O * OH * OW);
    const int64_t *stride = reference_i64(r, "conv2d.all/attr/stride", 2);
    const int64_t *pad = reference_i64(r, "conv2d.all/attr/pad", 2);
    const int64_t *dilation = reference_i64(r, "conv2d.all/attr/dilation", 2);
    check(tally, stride && pad && dilation, "conv2d.all attributes", 0, 1);
    if (!x || !weight || !bias || !g || !stride || !pad || !dilation) return;
    double y[O * OH * OW], dx[C * H * W] = {0}, dw[O * CG * KH * KW] = {0};
    for (int o = 0; o < O; o++)
        for (int i = 0; i < OH; i++)
            for (int j = 0; j < OW; j++) {
                double sum = bias[o], slope = g[(o * OH + i) * OW + j];
                for (int c = 0; c < CG; c++)
                    for (int u = 0; u < KH; u++)
                        for (int v = 0; v < KW; v++) {
                            int64_t row = i * stride[0] + u * dilation[0] - pad[0];
                            int64_t column = j * stride[1] + v * dilation[1] - pad[1];
                            if (row < 0 || row >= H || column < 0 || column >= W) continue;
                            int64_t at = ((o / (O / 2) * CG + c) * H + row) * W + column;
                            int tap = ((o * CG + c) * KH + u) * KW + v;
                            sum += x[at] * weight[tap];
                            dx[at] += slope * weight[tap];
                            dw[tap] += slope * x[at];
                        }
                y[(o * OH + i) * OW + j] = sum;
            }
    check_close(tally, "conv2d.all y", y, need(tally, r, "conv2d.all/output/y", O * OH * OW), O * OH * OW, 1e-13);
    check_close(tally, "conv2d.all dx", dx, need(tally, r, "conv2d.all/grad/x", C * H * W), C * H * W, 1e-13);
    check_close(tally, "conv2d.all dw", dw, need(tally, r, "conv2d.all/grad/weight", O * CG * KH * KW),
                O * CG * KH * KW, 1e-13);
}

// batchnorm1d.train: biased variance normalises, unbiased variance enters the running average.
static void check_batchnorm(Tally *tally, const Reference *r) {
    enum { B = 5, C = 3 };
    const double *x = need(tally, r, "batchnorm1d.train/input/x", B * C);
    const double *weight = need(tally, r, "batchnorm1d.train/param/weight", C);
    const double *bias = need(tally, r, "batchnorm1d.train/param/bias", C);
    const double *mean0 = need(tally, r, "batchnorm1d.train/before/running_mean", C);
    const double *var0 = need(tally, r, "batchnorm1d.train/before/running_var", C);
    if (!x || !weight || !bias || !mean0 || !var0) return;
    double y[B * C], mean1[C], var1[C];
    for (int c = 0; c < C; c++) {
        double mean = 0, var = 0;
        for (int b = 0; b < B; b++) mean += x[b * C + c] / B;
        for (int b = 0; b < B; b++) var += (x[b * C + c] - mean) * (x[b * C + c] - mean) / B;
        for (int b = 0; b < B; b++) y[b * C + c] = (x[b * C + c] - mean) / sqrt(var + 1e-5) * weight[c] + bias[c];
        mean1[c] = 0.9 * mean0[c] + 0.1 * mean;
        var1[c] = 0.9 * var0[c] + 0.1 * var * B / (B - 1);
    }
    check_close(tally, "batchnorm1d y", y, need(tally, r, "batchnorm1d.train/output/y", B * C), B * C, 1e-13);
    check_close(tally, "batchnorm1d running mean", mean1, need(tally, r, "batchnorm1d.train/after/running_mean", C), C,
                1e-14);
    check_close(tally, "batchnorm1d running var", var1, need(tally, r, "batchnorm1d.train/after/running_var", C), C,
                1e-14);
}

// AdamW with decoupled decay, ten steps on the recorded quadratic.
static void check_adamw(Tally *tally, const Reference *r) {
    enum { N = 7, STEPS = 10 };
    const double *path = need(tally, r, "optim.adamw/output/w", (STEPS + 1) * N);
    const double *a = need(tally, r, "optim.adamw/attr/a", N), *c = need(tally, r, "optim.adamw/attr/c", N);
    if (!path || !a || !c) return;
    double w[N], m[N] = {0}, v[N] = {0};
    memcpy(w, path, sizeof w);
    for (int t = 1; t <= STEPS; t++) {
        double sum = 0;
        for (int i = 0; i < N; i++) sum += w[i];
        for (int i = 0; i < N; i++) {
            double g = a[i] * (w[i] - c[i]) + sum;
            w[i] -= 0.05 * 0.1 * w[i];
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            w[i] -= 0.05 * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
        }
        check_close(tally, "adamw path", w, path + t * N, N, 1e-13);
    }
}

static void check_modules(Tally *tally, const char *directory) {
    char path[1024], why[512];
    snprintf(path, sizeof path, "%s/modules.safetensors", directory);
    Reference *r = reference_open(path, why, sizeof why);
    if (!r) {
        printf("FAIL %s\n", why);
        tally->checks++, tally->failures++;
        return;
    }
    check(tally, reference_count(r) > 900, "tensors in modules.safetensors", (double)reference_count(r), 900);
    check_convolution(tally, r);
    check_batchnorm(tally, r);
    check_adamw(tally, r);
    const double *golden = need(tally, r, "loss.golden.hybrid_pearson/output/y", 1);
    if (golden) check(tally, fabs(*golden - 1.940420) < 1e-6, "known hybrid loss of HEVisum", *golden, 1.940420);
    reference_close(r);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: reference_test DIRECTORY (the folder that holds hevisum.safetensors)\n");
        return 2;
    }
    Tally tally = {0, 0};
    check_hevisum(&tally, argv[1]);
    check_modules(&tally, argv[1]);
    printf("reference_test: %d checks, %d failures\n", tally.checks, tally.failures);
    return tally.failures != 0;
}
