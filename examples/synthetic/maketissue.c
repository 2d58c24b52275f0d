// maketissue: makes a small tissue data set in the legacy Spatial Transcriptomics layout (counts, spots,
// images, proportions), so that everything can be tried without downloading anything.
//
//     maketissue DIR [--sections N] [--spots N] [--width PIXELS] [--genes N] [--seed N]
//
// Each section is a piece of imagined breast tissue. Smooth random fields say how much of each of eight cell
// types there is at every place; the picture is painted from those fields (how many nuclei, how large, how
// long, how dark, what lies between them), and proportions and counts are drawn from the same fields. So the
// picture really predicts the numbers, as far as a spot's noise allows. Everything follows from the seed.
// Needs libjpeg and zlib only.
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jpeglib.h>
#include <zlib.h>

enum { TYPES = 8, MAJORS = 4, ARRAY_COLUMNS = 33, ARRAY_ROWS = 35 };

// The look and the place of a cell type.
typedef struct CellType {
    const char *name;
    int major;             // index into major_names
    double nuclei;         // per 1000 square pixels where it fills the tissue (at 80 px per spot pitch)
    double radius, spread; // of a nucleus, pixels; relative variation
    double aspect;         // length over width
    double dark;           // 0 pale .. 1 dark
    double eosin;          // how pink its surroundings are
    const char *markers[8];
} CellType;

static const char *const major_names[MAJORS] = {"Epithelial", "Immune", "Stromal", "Adipose"};

// clang-format off
static const CellType types[TYPES] = {
    // name, major, nuclei, radius and spread, aspect, dark, eosin, marker genes
    {"Tumor cells",       0,  5.2, 4.6, 0.30, 1.25, 0.60, 0.45,
     {"ERBB2", "GRB7", "KRT19", "EPCAM", "MUC1", "KRT8", "CDH1", "TOP2A"}},
    {"Normal epithelium", 0,  6.0, 3.2, 0.12, 1.50, 0.75, 0.35,
     {"KRT5", "KRT14", "KRT17", "LTF", "PIGR", "ELF5", "KIT", "MMP7"}},
    {"T cells",           1, 11.0, 2.3, 0.10, 1.05, 0.95, 0.20,
     {"CD3D", "CD3E", "TRAC", "IL7R", "CD8A", "GZMK", "CCL5", "LCK"}},
    {"B cells",           1, 12.0, 2.1, 0.08, 1.05, 1.00, 0.15,
     {"MS4A1", "CD79A", "CD19", "IGHM", "BANK1", "CXCR5", "CD22", "FCRL1"}},
    {"Macrophages",       1,  4.0, 3.4, 0.22, 1.35, 0.55, 0.50,
     {"CD68", "CD163", "C1QA", "LYZ", "MSR1", "APOE", "CSF1R", "AIF1"}},
    {"Fibroblasts",       2,  2.4, 2.6, 0.20, 3.60, 0.70, 0.95,
     {"COL1A1", "COL1A2", "DCN", "LUM", "FAP", "POSTN", "PDGFRA", "THY1"}},
    {"Endothelial",       2,  3.4, 2.4, 0.15, 2.80, 0.85, 0.70,
     {"PECAM1", "VWF", "CDH5", "KDR", "CLDN5", "ENG", "TEK", "PLVAP"}},
    {"Adipocytes",        3, 0.35, 2.2, 0.15, 2.40, 0.80, 0.10,
     {"ADIPOQ", "PLIN1", "LEP", "FABP4", "CIDEC", "LPL", "PLIN4", "CD36"}},
};
// clang-format on

// Genes that every cell uses; the rest of the list is named after families below.
static const char *const housekeeping[] = {"ACTB",   "GAPDH",  "B2M",      "EEF1A1", "RPLP0", "RPLP1", "TMSB4X",
                                           "UBC",    "PPIA",   "HSP90AB1", "FTL",    "FTH1",  "TPT1",  "MALAT1",
                                           "MT-CO1", "MT-ND4", "RACK1",    "NACA",   "EEF2",  "PABPC1"};
static const char *const families[] = {"RPL",   "RPS",   "PSMA", "PSMB",   "NDUFA", "NDUFB",
                                       "COX6B", "ATP5F", "EIF3", "SLC25A", "TMEM",  "ZNF"};

// ---- Random numbers: splitmix64, one stream per purpose -----------------------------------------

typedef struct Random {
    uint64_t state;
    bool has_spare;
    double spare;
} Random;

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static Random random_stream(uint64_t seed, uint64_t section, uint64_t purpose) {
    return (Random){.state = mix(seed + 0x9e3779b97f4a7c15u * (1 + section)) ^ mix(purpose * 0x632be59bd9b4e019u)};
}

static uint64_t next_bits(Random *r) {
    r->state += 0x9e3779b97f4a7c15u;
    return mix(r->state);
}

static double uniform(Random *r) { // [0, 1)
    return (double)(next_bits(r) >> 11) * 0x1p-53;
}

static double normal(Random *r) {
    if (r->has_spare) {
        r->has_spare = false;
        return r->spare;
    }
    double radius = sqrt(-2 * log(1 - uniform(r))), angle = 6.283185307179586 * uniform(r);
    r->spare = radius * sin(angle);
    r->has_spare = true;
    return radius * cos(angle);
}

static double gamma_variate(Random *r, double shape) { // scale 1; Marsaglia and Tsang
    if (shape < 1) return gamma_variate(r, shape + 1) * pow(1 - uniform(r), 1 / shape);
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = normal(r), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        if (log(1 - uniform(r)) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

static int poisson(Random *r, double mean) {
    if (mean > 500) {
        double value = mean + sqrt(mean) * normal(r);
        return value < 0 ? 0 : (int)(value + 0.5);
    }
    int count = 0;
    for (; mean > 30; mean -= 30) // in parts, so that exp does not vanish
        for (double p = 1 - uniform(r), limit = exp(-30.0); p > limit; p *= 1 - uniform(r)) count++;
    for (double p = 1 - uniform(r), limit = exp(-mean); p > limit; p *= 1 - uniform(r)) count++;
    return count;
}

// ---- Smooth noise -------------------------------------------------------------------------------

static double lattice(uint64_t key, long x, long y) { // -1 .. 1
    uint64_t h = mix(key ^ mix((uint64_t)x * 0x9e3779b97f4a7c15u + (uint64_t)y * 0xc2b2ae3d27d4eb4fu));
    return (double)(h >> 11) * 0x1p-52 - 1;
}

static double smooth_noise(uint64_t key, double x, double y) {
    double fx = floor(x), fy = floor(y), u = x - fx, v = y - fy;
    long i = (long)fx, j = (long)fy;
    u = u * u * u * (u * (u * 6 - 15) + 10);
    v = v * v * v * (v * (v * 6 - 15) + 10);
    double a = lattice(key, i, j), b = lattice(key, i + 1, j), c = lattice(key, i, j + 1),
           d = lattice(key, i + 1, j + 1);
    return a + (b - a) * u + (c - a) * v + (a - b - c + d) * u * v;
}

static double fractal(uint64_t key, double x, double y, int octaves) {
    double sum = 0, weight = 1, total = 0;
    for (int o = 0; o < octaves; o++) {
        sum += weight * smooth_noise(key + (uint64_t)o * 7919, x, y);
        total += weight;
        weight *= 0.5;
        x = x * 2 + 17.3;
        y = y * 2 - 9.1;
    }
    return sum / total;
}

// ---- The tissue ---------------------------------------------------------------------------------

typedef struct Tissue {
    uint64_t seed, key; // `key` is the same for all sections of a run: serial sections resemble each other
    int section;
    long width, height;
    double pitch_x, pitch_y; // pixels per array step
    double unit;             // 1 at a pitch of 80 pixels: sizes scale with the picture
    double extent;           // of the piece of tissue; grows with the number of spots
} Tissue;

// Position in array steps, slightly bent from section to section.
static void to_steps(const Tissue *t, double x, double y, double *sx, double *sy) {
    *sx = x / t->pitch_x + 0.35 * t->section * sin(0.21 * y / t->pitch_y + t->section);
    *sy = y / t->pitch_y + 0.30 * t->section * cos(0.17 * x / t->pitch_x + 2 * t->section);
}

// Above 0 inside the tissue.
static double tissue_mask(const Tissue *t, double x, double y) {
    double sx, sy;
    to_steps(t, x, y, &sx, &sy);
    double u = (sx - 16) / (10.2 * t->extent), v = (sy - 17) / (9.3 * t->extent);
    return 1 - sqrt(u * u + v * v) + 0.30 * fractal(t->key + 11, sx / 6, sy / 6, 3);
}

// Shares of the cell types at a place; they sum to 1.
static void cell_types_at(const Tissue *t, double x, double y, double shares[TYPES]) {
    double sx, sy, sum = 0;
    to_steps(t, x, y, &sx, &sy);
    uint64_t k = t->key;
    double nest = fractal(k + 1, sx / 4.2, sy / 4.2, 3), depth = fractal(k + 2, sx / 9, sy / 9, 2);
    double immune = fractal(k + 3, sx / 3.0, sy / 3.0, 2), fat = fractal(k + 4, sx / 5, sy / 5, 2);
    double score[TYPES];
    score[0] = 9.0 * (nest - 0.02) + 2.0 * depth;
    score[1] = 11.0 * (fractal(k + 5, sx / 2.6, sy / 2.6, 2) - 0.34);
    score[2] = 6.5 * (immune - 0.12) - 2.0 * fabs(nest);
    score[3] = 12.0 * (fractal(k + 6, sx / 2.4, sy / 2.4, 2) - 0.36) + 2.0 * immune;
    score[4] = 4.0 * fractal(k + 7, sx / 3.4, sy / 3.4, 2) - 0.9;
    score[5] = 1.0 - 6.0 * nest;
    score[6] = 5.0 * (fractal(k + 8, sx / 2.0, sy / 2.0, 2) - 0.22) - 0.6;
    score[7] = 13.0 * (fat - 0.22) - 3.0 * nest;
    for (int c = 0; c < TYPES; c++) {
        shares[c] = exp(score[c]);
        sum += shares[c];
    }
    for (int c = 0; c < TYPES; c++) shares[c] /= sum;
}

// ---- Painting -----------------------------------------------------------------------------------

typedef struct Paint {
    const Tissue *tissue;
    float *hematoxylin, *eosin; // [height][width] amounts of the two stains
} Paint;

// Adds an ellipse with soft rim and chromatin texture to the hematoxylin layer.
static void paint_nucleus(Paint *paint, Random *r, double x, double y, double length, double width, double angle,
                          double dark) {
    const Tissue *t = paint->tissue;
    double reach = length + 2, cosine = cos(angle), sine = sin(angle), bump = 0.22 * normal(r);
    uint64_t texture = next_bits(r);
    for (long j = (long)(y - reach); j <= (long)(y + reach); j++) {
        for (long i = (long)(x - reach); i <= (long)(x + reach); i++) {
            if (i < 0 || j < 0 || i >= t->width || j >= t->height) continue;
            double dx = (double)i + 0.5 - x, dy = (double)j + 0.5 - y;
            double a = (dx * cosine + dy * sine) / length, b = (-dx * sine + dy * cosine) / width;
            double distance = sqrt(a * a + b * b) * (1 + bump * fmax(-1, fmin(1, a * b)));
            double cover = (1 - distance) * width / 1.2 + 0.5;
            if (cover <= 0) continue;
            cover = cover > 1 ? 1 : cover;
            double rim = distance > 0.72 ? 1.12 : 0.92, grain = 1 + 0.22 * smooth_noise(texture, dx * 0.9, dy * 0.9);
            float *h = &paint->hematoxylin[j * t->width + i];
            double value = cover * dark * rim * grain;
            if (value > *h) *h = (float)value;
            paint->eosin[j * t->width + i] *= (float)(1 - 0.55 * cover);
        }
    }
}

// The ground of one pixel: fibres in stroma, cytoplasm in nests, bubbles in fat, nothing outside and in
// lumina.
static void paint_ground(Paint *paint, long i, long j, const double shares[TYPES], double inside) {
    const Tissue *t = paint->tissue;
    double x = (double)i / t->unit, y = (double)j / t->unit; // sizes below are for a pitch of 80 px
    uint64_t k = t->key + 100 + (uint64_t)t->section;
    size_t at = (size_t)j * (size_t)t->width + (size_t)i;
    double edge = inside / 0.03;
    if (edge <= 0) return;
    edge = edge > 1 ? 1 : edge;
    // Fibres: noise stretched along a slowly turning direction.
    double turn = 2.2 * fractal(k, x / 260, y / 260, 2), along = x * cos(turn) + y * sin(turn),
           across = -x * sin(turn) + y * cos(turn);
    double fibre = fractal(k + 1, along / 46, across / 5.5, 3), cloud = fractal(k + 2, x / 34, y / 34, 3);
    double stroma = shares[5] + 0.5 * shares[6], fat = shares[7], eosin = 0;
    for (int c = 0; c < TYPES; c++) eosin += shares[c] * types[c].eosin;
    eosin *= 0.62 + 0.16 * cloud + (0.55 * stroma + 0.08) * fibre;
    double gap = stroma * (fractal(k + 3, along / 60, across / 9, 2) - 0.30); // clefts between fibres
    if (gap > 0) eosin *= fmax(0.10, 1 - 9 * gap);
    double haze = 0.05 + 0.10 * (shares[0] + shares[1]) + 0.07 * (shares[2] + shares[3]);
    // Fat: walls of a cell pattern around empty bubbles.
    if (fat > 0.08) {
        double cx = floor(x / 34), cy = floor(y / 34), first = 1e9, second = 1e9;
        for (int b = -1; b <= 1; b++) {
            for (int a = -1; a <= 1; a++) {
                long qx = (long)cx + a, qy = (long)cy + b;
                double px = ((double)qx + 0.5 + 0.42 * lattice(k + 4, qx, qy)) * 34,
                       py = ((double)qy + 0.5 + 0.42 * lattice(k + 5, qx, qy)) * 34;
                double d = hypot(x - px, y - py);
                if (d < first) second = first, first = d;
                else if (d < second) second = d;
            }
        }
        double wall = exp(-(second - first) * (second - first) / 5.0), strength = fmin(1, (fat - 0.08) / 0.35);
        eosin = eosin * (1 - strength) + strength * (0.03 + 0.42 * wall);
        haze *= 1 - 0.8 * strength;
    }
    // Lumina of glands and vessels.
    double lumen = (shares[1] - 0.45) * 1.2 + (shares[6] - 0.40) + 0.45 * fractal(k + 6, x / 22, y / 22, 2) - 0.16;
    if (shares[1] + shares[6] > 0.35 && lumen > 0) {
        double open = fmin(1, lumen / 0.03);
        eosin *= 1 - 0.97 * open;
        haze *= 1 - open;
    }
    paint->eosin[at] = (float)(edge * fmax(0.02, eosin));
    paint->hematoxylin[at] = (float)(edge * haze * (1 + 0.5 * cloud));
}

// True where a nucleus may lie: not in lumina, not in the middle of fat bubbles.
static bool can_hold_nucleus(const Paint *paint, double x, double y) {
    const Tissue *t = paint->tissue;
    long i = (long)x, j = (long)y;
    if (i < 0 || j < 0 || i >= t->width || j >= t->height) return false;
    return paint->eosin[j * t->width + i] > 0.10f;
}

static void paint_nuclei(Paint *paint) {
    const Tissue *t = paint->tissue;
    Random r = random_stream(t->seed, (uint64_t)t->section, 1);
    double cell = 7.0 * t->unit; // one candidate per type and cell of this size
    double area = cell * cell / (t->unit * t->unit) / 1000;
    for (double y = 0; y < (double)t->height; y += cell) {
        for (double x = 0; x < (double)t->width; x += cell) {
            double shares[TYPES];
            if (tissue_mask(t, x, y) < 0.01) continue;
            cell_types_at(t, x, y, shares);
            for (int c = 0; c < TYPES; c++) {
                const CellType *type = &types[c];
                int count = poisson(&r, type->nuclei * 2.2 * shares[c] * area);
                for (int n = 0; n < count; n++) {
                    double px = x + cell * uniform(&r), py = y + cell * uniform(&r);
                    double size = type->radius * t->unit * exp(type->spread * normal(&r));
                    double aspect = fmax(1, type->aspect * (1 + 0.15 * normal(&r)));
                    double turn =
                        2.2 * fractal(t->key + 100 + (uint64_t)t->section, px / t->unit / 260, py / t->unit / 260, 2);
                    double angle = type->aspect > 2 ? turn + 0.25 * normal(&r) : 6.2832 * uniform(&r);
                    double dark = type->dark * (1 + 0.12 * normal(&r));
                    if (!can_hold_nucleus(paint, px, py)) continue;
                    paint_nucleus(paint, &r, px, py, size * sqrt(aspect), size / sqrt(aspect), angle, fmax(0.2, dark));
                }
            }
        }
    }
}

// Stain amounts to colour by Beer and Lambert's law.
static void develop(const Paint *paint, uint8_t *rgb) {
    static const double hematoxylin[3] = {1.16, 1.62, 0.66}, eosin[3] = {0.14, 0.92, 0.36}, glass[3] = {243, 241, 244};
    const Tissue *t = paint->tissue;
    Random r = random_stream(t->seed, (uint64_t)t->section, 2);
    double stain_h = 1 + 0.06 * normal(&r),
           stain_e = 1 + 0.08 * normal(&r); // every slide is stained a little differently
    for (long j = 0; j < t->height; j++) {
        for (long i = 0; i < t->width; i++) {
            size_t at = (size_t)j * (size_t)t->width + (size_t)i;
            double light = 1 + 0.012 * smooth_noise(t->key + 900, (double)i / 700, (double)j / 700);
            for (int c = 0; c < 3; c++) {
                double density =
                    stain_h * hematoxylin[c] * paint->hematoxylin[at] + stain_e * eosin[c] * paint->eosin[at];
                double value = glass[c] * light * exp(-density) + 1.6 * normal(&r);
                rgb[3 * at + (size_t)c] = value < 0 ? 0 : value > 255 ? 255 : (uint8_t)(value + 0.5);
            }
        }
    }
}

static bool write_jpeg(const char *path, const uint8_t *rgb, long width, long height) {
    FILE *file = fopen(path, "wb");
    if (!file) return false;
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr errors; // the default: on failure libjpeg prints and exits, which suits this small program
    encoder.err = jpeg_std_error(&errors);
    jpeg_create_compress(&encoder);
    jpeg_stdio_dest(&encoder, file);
    encoder.image_width = (JDIMENSION)width;
    encoder.image_height = (JDIMENSION)height;
    encoder.input_components = 3;
    encoder.in_color_space = JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, 90, TRUE);
    jpeg_start_compress(&encoder, TRUE);
    while (encoder.next_scanline < encoder.image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)encoder.next_scanline * (size_t)width * 3);
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    return fclose(file) == 0;
}

static bool make_picture(const Tissue *t, const char *path) {
    size_t pixels = (size_t)t->width * (size_t)t->height;
    Paint paint = {t, calloc(pixels, sizeof(float)), calloc(pixels, sizeof(float))};
    uint8_t *rgb = malloc(pixels * 3);
    bool ok = paint.hematoxylin && paint.eosin && rgb;
    if (ok) {
        for (long j = 0; j < t->height; j++) {
            double shares[TYPES];
            for (long i = 0; i < t->width; i++) {
                double inside = tissue_mask(t, (double)i, (double)j);
                if (inside <= 0) continue;
                // Shares change slowly: every fourth pixel is enough.
                if (i % 4 == 0 || tissue_mask(t, (double)i - 1, (double)j) <= 0)
                    cell_types_at(t, (double)i, (double)j, shares);
                paint_ground(&paint, i, j, shares, inside);
            }
        }
        paint_nuclei(&paint);
        develop(&paint, rgb);
        ok = write_jpeg(path, rgb, t->width, t->height);
    }
    free(paint.hematoxylin);
    free(paint.eosin);
    free(rgb);
    return ok;
}

// ---- Spots, proportions, counts -----------------------------------------------------------------

typedef struct Spot {
    int x, y;
    double new_x, new_y, pixel_x, pixel_y;
    double shares[TYPES]; // mean over the spot's disc, with a little noise
} Spot;

static void mean_shares(const Tissue *t, Spot *spot, Random *r) {
    double sum = 0;
    memset(spot->shares, 0, sizeof spot->shares);
    for (int b = -2; b <= 2; b++) {
        for (int a = -2; a <= 2; a++) {
            double one[TYPES];
            if (a * a + b * b > 5) continue;
            cell_types_at(t, spot->pixel_x + 0.12 * a * t->pitch_x, spot->pixel_y + 0.12 * b * t->pitch_y, one);
            for (int c = 0; c < TYPES; c++) spot->shares[c] += one[c];
        }
    }
    for (int c = 0; c < TYPES; c++) sum += spot->shares[c] = (spot->shares[c] + 1e-7) * exp(0.15 * normal(r));
    for (int c = 0; c < TYPES; c++) spot->shares[c] /= sum;
}

static int by_depth(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

// The `wanted` array positions deepest in the tissue.
static size_t place_spots(const Tissue *t, size_t wanted, Spot *spots) {
    Random r = random_stream(t->seed, (uint64_t)t->section, 3);
    static const size_t all = (size_t)(ARRAY_COLUMNS - 2) * (ARRAY_ROWS - 2);
    double *depth = malloc(2 * all * sizeof *depth);
    size_t count = 0, n = 0;
    if (!depth) return 0;
    Spot candidate = {0};
    for (int pass = 0; pass < 2; pass++) {
        Random jitter = r; // both passes see the same positions
        double limit = 0.02;
        if (pass == 1) {
            qsort(depth, n, sizeof *depth, by_depth);
            if (n > wanted) limit = fmax(limit, depth[wanted - 1]);
        }
        for (int x = 2; x < ARRAY_COLUMNS; x++) {
            for (int y = 2; y < ARRAY_ROWS; y++) {
                candidate.x = x;
                candidate.y = y;
                candidate.new_x = x + fmax(-0.25, fmin(0.25, 0.07 * normal(&jitter)));
                candidate.new_y = y + fmax(-0.25, fmin(0.25, 0.07 * normal(&jitter)));
                candidate.pixel_x = (candidate.new_x - 1) * t->pitch_x;
                candidate.pixel_y = (candidate.new_y - 1) * t->pitch_y;
                double inside = tissue_mask(t, candidate.pixel_x, candidate.pixel_y);
                if (pass == 0) depth[n++] = inside;
                else if (inside >= limit && count < wanted) spots[count++] = candidate;
            }
        }
    }
    free(depth);
    for (size_t i = 0; i < count; i++) mean_shares(t, &spots[i], &r);
    return count;
}

// Gene g's name into `name`.
static void gene_name(int g, char name[32]) {
    int n_house = (int)(sizeof housekeeping / sizeof *housekeeping),
        n_families = (int)(sizeof families / sizeof *families);
    if (g < TYPES * 8) snprintf(name, 32, "%s", types[g % TYPES].markers[g / TYPES]);
    else if (g < TYPES * 8 + n_house) snprintf(name, 32, "%s", housekeeping[g - TYPES * 8]);
    else {
        int k = g - TYPES * 8 - n_house;
        snprintf(name, 32, "%s%d", families[k % n_families], 3 + k / n_families);
    }
}

// Expected molecules of gene g per cell of type c, relative.
static double signature(uint64_t seed, int g, int c) {
    int n_house = (int)(sizeof housekeeping / sizeof *housekeeping);
    Random r = random_stream(seed, 1000 + (uint64_t)g, 40 + (uint64_t)c);
    Random level = random_stream(seed, 1000 + (uint64_t)g, 39);
    if (g < TYPES * 8) return g % TYPES == c ? 0.35 * exp(0.6 * normal(&level)) : 0.010 * exp(0.7 * normal(&r));
    if (g < TYPES * 8 + n_house) return 0.55 * exp(0.7 * normal(&level)) * exp(0.15 * normal(&r));
    return 0.06 * exp(0.9 * normal(&level)) * exp(0.35 * normal(&r));
}

static bool write_counts(const char *path, const Tissue *t, const Spot *spots, size_t n_spots, int n_genes) {
    gzFile file = gzopen(path, "wb6");
    double *table = malloc((size_t)n_genes * TYPES * sizeof *table);
    int *order = malloc((size_t)n_genes * sizeof *order);
    bool ok = file && table && order;
    if (ok) {
        // As in real data, every section lacks some genes and has its own column order.
        Random r = random_stream(t->seed, (uint64_t)t->section, 4);
        int n = 0;
        for (int g = 0; g < n_genes; g++) {
            for (int c = 0; c < TYPES; c++) table[g * TYPES + c] = signature(t->seed, g, c);
            if (g < TYPES * 8 || uniform(&r) > 0.03) order[n++] = g;
        }
        for (int i = n - 1; i > 0; i--) {
            int k = (int)(uniform(&r) * (i + 1)), swap = order[i];
            order[i] = order[k];
            order[k] = swap;
        }
        for (int i = 0; i < n; i++) {
            char name[32];
            gene_name(order[i], name);
            ok = ok && gzprintf(file, "\t%s", name) > 0;
        }
        ok = ok && gzputc(file, '\n') >= 0;
        for (size_t s = 0; s < n_spots; s++) {
            double depth = 260 * gamma_variate(&r, 8) / 8; // cells times capture rate
            ok = ok && gzprintf(file, "%dx%d", spots[s].x, spots[s].y) > 0;
            for (int i = 0; i < n; i++) {
                double mean = 0;
                for (int c = 0; c < TYPES; c++) mean += spots[s].shares[c] * table[order[i] * TYPES + c];
                mean *= depth;
                ok = ok && gzprintf(file, "\t%d", poisson(&r, mean * gamma_variate(&r, 6) / 6)) > 0;
            }
            ok = ok && gzputc(file, '\n') >= 0;
        }
    }
    free(table);
    free(order);
    return file && gzclose(file) == Z_OK && ok;
}

static bool write_spots(const char *path, const Spot *spots, size_t n) {
    FILE *file = fopen(path, "w");
    if (!file) return false;
    fprintf(file, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n");
    for (size_t i = 0; i < n; i++)
        fprintf(file, "%d\t%d\t%.3f\t%.3f\t%.2f\t%.2f\t1\n", spots[i].x, spots[i].y, spots[i].new_x, spots[i].new_y,
                spots[i].pixel_x, spots[i].pixel_y);
    bool ok = !ferror(file);
    return fclose(file) == 0 && ok;
}

static bool write_proportions(const char *path, const Spot *spots, size_t n, bool major) {
    FILE *file = fopen(path, "w");
    if (!file) return false;
    for (int c = 0; c < (major ? MAJORS : TYPES); c++) fprintf(file, "\t%s", major ? major_names[c] : types[c].name);
    fprintf(file, "\n");
    for (size_t i = 0; i < n; i++) {
        double sums[MAJORS] = {0};
        fprintf(file, "%dx%d", spots[i].x, spots[i].y);
        for (int c = 0; c < TYPES; c++) {
            sums[types[c].major] += spots[i].shares[c];
            if (!major) fprintf(file, "\t%.8g", spots[i].shares[c]);
        }
        for (int c = 0; major && c < MAJORS; c++) fprintf(file, "\t%.8g", sums[c]);
        fprintf(file, "\n");
    }
    bool ok = !ferror(file);
    return fclose(file) == 0 && ok;
}

// ---- Main ---------------------------------------------------------------------------------------

static bool make_section(const char *directory, const Tissue *t, size_t n_spots, int n_genes) {
    char path[4096], name[16];
    snprintf(name, sizeof name, "A%d", t->section + 1);
    Spot *spots = calloc(n_spots, sizeof *spots);
    size_t n = spots ? place_spots(t, n_spots, spots) : 0;
    bool ok = n > 0;
    snprintf(path, sizeof path, "%s/spots/%s_selection.tsv", directory, name);
    ok = ok && write_spots(path, spots, n);
    for (int major = 0; major < 2 && ok; major++) {
        snprintf(path, sizeof path, "%s/proportions/%s_%s.tsv", directory, name, major ? "major" : "minor");
        ok = write_proportions(path, spots, n, major == 1);
    }
    if (ok) {
        snprintf(path, sizeof path, "%s/counts/%s.tsv.gz", directory, name);
        ok = write_counts(path, t, spots, n, n_genes);
    }
    if (ok) {
        snprintf(path, sizeof path, "%s/images/%s.jpg", directory, name);
        ok = make_picture(t, path);
    }
    if (ok) printf("%s: %zu spots, %d genes, picture %ld x %ld\n", name, n, n_genes, t->width, t->height);
    else fprintf(stderr, "maketissue: cannot make %s: %s\n", path, errno ? strerror(errno) : "out of memory");
    free(spots);
    return ok;
}

static bool number_option(const char *text, long low, long high, long *out_value) {
    char *end = NULL;
    *out_value = strtol(text, &end, 10);
    return *text && *end == '\0' && *out_value >= low && *out_value <= high;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        long low, high;
    } options[5] = {{"--sections", 1, 99},
                    {"--spots", 4, 900},
                    {"--width", 400, 12000},
                    {"--genes", 64, 5000},
                    {"--seed", 0, 2147483647}};
    long values[5] = {3, 200, 2560, 300, 1};
    const char *directory = NULL;
    for (int i = 1; i < argc; i++) {
        int known = -1;
        for (int o = 0; o < 5; o++)
            if (strcmp(argv[i], options[o].name) == 0) known = o;
        if (known >= 0 && i + 1 < argc &&
            number_option(argv[i + 1], options[known].low, options[known].high, &values[known])) {
            i++;
        } else if (known >= 0) {
            fprintf(stderr, "maketissue: %s needs a number from %ld to %ld\n", argv[i], options[known].low,
                    options[known].high);
            return 2;
        } else if (argv[i][0] == '-' || directory) {
            fprintf(stderr,
                    "usage: maketissue DIR [--sections N] [--spots N] [--width PIXELS] [--genes N] [--seed N]\n");
            return strcmp(argv[i], "--help") == 0 ? 0 : 2;
        } else {
            directory = argv[i];
        }
    }
    if (!directory || strlen(directory) > 3000) {
        fprintf(stderr, "usage: maketissue DIR [--sections N] [--spots N] [--width PIXELS] [--genes N] [--seed N]\n");
        return 2;
    }
    static const char *const folders[] = {"", "/counts", "/spots", "/images", "/proportions"};
    for (int f = 0; f < 5; f++) {
        char path[4096];
        snprintf(path, sizeof path, "%s%s", directory, folders[f]);
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            fprintf(stderr, "maketissue: cannot create %s: %s\n", path, strerror(errno));
            return 1;
        }
    }
    errno = 0;
    for (long s = 0; s < values[0]; s++) {
        Tissue tissue = {
            .seed = (uint64_t)values[4], .key = mix((uint64_t)values[4] + 77), .section = (int)s, .width = values[2]};
        tissue.pitch_x = (double)tissue.width / (ARRAY_COLUMNS - 1);
        tissue.height = (long)(tissue.pitch_x * 1.005 * (ARRAY_ROWS - 1) + 0.5);
        tissue.pitch_y = (double)tissue.height / (ARRAY_ROWS - 1);
        tissue.unit = tissue.pitch_x / 80;
        tissue.extent = 0.85 * sqrt((double)values[1] / 200); // about as many array positions under tissue as spots
        if (!make_section(directory, &tissue, (size_t)values[1], (int)values[3])) return 1;
    }
    return 0;
}
