// Damage: every sample of counts and positions, truncated at 20 places and with 200 random bytes changed (half of them
// in the first 16 KB, where HDF5 keeps most of its metadata). Nothing may crash, hang or speak of an internal error,
// and every refusal must name the file. What is read in spite of it must be sound.
//
// Usage: counts_damage_test DATA [SECONDS]: two workers share the files; when the time is up the rest is left out, and
// the report says how many cases were run.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "../../runtime/data/counts.h"
#include "../../runtime/data/hest.h"
#include "../../runtime/data/positions.h"
#include "made.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { LIBRARY_FAULT = 77 };

#if SANITIZED
void __asan_set_error_report_callback(void (*callback)(const char *));

// A sanitizer also sees HDF5's calls of memcpy and malloc. Its report is HDF5's fault, which the guard is there for, if
// the first frame that is not the sanitizer's own belongs to HDF5; otherwise the child ends as the sanitizer wants.
static void on_report(const char *report) {
    for (const char *frame = strstr(report, "    #"); frame; frame = strstr(frame + 1, "    #")) {
        const char *name = strstr(frame, " in "), *end = strchr(frame, '\n');
        if (!name || !end || name > end) break;
        if (strncmp(name, " in __interceptor", 17) == 0 || strncmp(name, " in __asan", 10) == 0) continue;
        if (strncmp(name, " in H5", 6) == 0) _exit(LIBRARY_FAULT);
        break;
    }
}
#endif

enum { TRUNCATIONS = 20, FLIPS = 200, CASES = TRUNCATIONS + FLIPS, WORKERS = 2 };

typedef enum Reader { READ_COUNTS, READ_MEX, READ_POSITIONS, READ_SCALES, READ_TABLE, READ_PATCHES } Reader;

typedef struct Target {
    Reader reader;
    const char *path; // below the data, or below tests/data/reference when it begins with counts_made
    const char *section;
} Target;

// Small ones first, so that they are done whatever the time.
static const Target targets[] = {
    {READ_COUNTS, "h5ad/synthetic_anndata0114.h5ad", NULL},
    {READ_COUNTS, "h5ad/synthetic_anndata070.h5ad", NULL},
    {READ_COUNTS, "h5ad/pbmc80_csr.h5ad", NULL},
    {READ_COUNTS, "h5ad/pbmc80_dense.h5ad", NULL},
    {READ_COUNTS, "h5ad/visium_breast_dense.h5ad", NULL},
    {READ_COUNTS, "h5ad/visium_brain_csr.h5ad", NULL},
    {READ_COUNTS, "visium/h5_variants/cellranger_1.2_chr21.h5", NULL},
    {READ_COUNTS, "visium/h5_variants/cellranger_1.2_two_genomes.h5", "hg19_chr21"},
    {READ_COUNTS, "visium/h5_variants/cellranger_3.0_chr21.h5", NULL},
    {READ_COUNTS, "visium/h5_variants/spaceranger_2.1_raw_probe.h5", NULL},
    {READ_COUNTS, "visium/heart_100x100/filtered_feature_bc_matrix.h5", NULL},
    {READ_COUNTS, "visium/brain_sr2/filtered_feature_bc_matrix.h5", NULL},
    {READ_COUNTS, "counts_made/columns.h5ad", NULL},
    {READ_COUNTS, "counts_made/csc.h5ad", NULL},
    {READ_COUNTS, "counts_made/several_chunks.h5ad", NULL},
    {READ_COUNTS, "counts_made/unsorted.h5ad", NULL},
    {READ_COUNTS, "counts_made/elucidata.h5", "S_10"},
    {READ_PATCHES, "counts_made/hest/patches/SPA1.h5", NULL},
    {READ_TABLE, "counts_made/hest/HEST_v1_3_0.csv", NULL},
    {READ_MEX, "visium/prostate_tiny/filtered_feature_bc_matrix/matrix.mtx", NULL},
    {READ_MEX, "visium/prostate_tiny/filtered_feature_bc_matrix/features.tsv", NULL},
    {READ_MEX, "visium/prostate_tiny/filtered_feature_bc_matrix/barcodes.tsv", NULL},
    {READ_MEX, "visium/brain_sr2/filtered_feature_bc_matrix/matrix.mtx.gz", NULL},
    {READ_POSITIONS, "visium/prostate_tiny/spatial/tissue_positions.csv", NULL},
    {READ_POSITIONS, "visium/crc16/spatial/tissue_positions_list.csv", NULL},
    {READ_POSITIONS, "visium/colon_hd_16um/spatial/tissue_positions.parquet", NULL},
    {READ_POSITIONS, "her2st/spots/C2_selection.tsv", NULL},
    {READ_SCALES, "visium/crc16/spatial/scalefactors_json.json", NULL},
    {READ_COUNTS, "her2st/counts/C2.tsv.gz", NULL},
    {READ_COUNTS, "visium/colon_hd_16um/filtered_feature_bc_matrix.h5", NULL},
    {READ_COUNTS, "h5ad/pbmc68k_anndata05.h5ad", NULL},
    {READ_COUNTS, "h5ad/pbmc68k_current.h5ad", NULL},
    {READ_COUNTS, "visium/crc16/filtered_feature_bc_matrix.h5", NULL},
};
enum { TARGETS = sizeof targets / sizeof *targets };

typedef struct Tally {
    int cases, read, refused, crashed, stopped, wrong;
    double slowest;
} Tally;

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool touch_matrix(const Matrix *m) {
    double sum = 0;
    for (size_t r = 0; r < m->rows; r++)
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) {
            if (m->column[e] < 0 || (size_t)m->column[e] >= m->columns || m->value[e] == 0) return false;
            sum += (double)m->value[e]; // any number, infinite ones too: a changed byte in values is another value
        }
    return sum != 0.1234567;
}

// What was read must be whole: every name, number and entry.
static bool sound(const Annotated *a) {
    bool ok = touch_matrix(&a->x);
    size_t letters = 0;
    for (size_t r = 0; r < a->x.rows; r++) letters += strlen(a->x.row_name[r]);
    for (size_t c = 0; c < a->x.columns; c++) letters += strlen(a->x.column_name[c]);
    for (size_t i = 0; i < a->n_layers; i++) ok = ok && touch_matrix(&a->layer[i].matrix);
    for (size_t i = 0; i < a->obs.columns; i++) letters += strlen(a->obs.column[i].name);
    return ok && a->obs.rows == a->x.rows && a->var.rows == a->x.columns && letters + 1 > 0;
}

static Status read_one(const Target *t, const char *path, const char *directory, bool *out_sound) {
    GuardLimits limits = {
        .cpu_seconds = 8, .wall_seconds = 40, .memory_bytes = (size_t)2 << 30, .results_bytes = (size_t)1 << 30};
    CountsOptions o = {.section = t->section,
                       .genome = t->section && t->section[0] == 'h' ? t->section : NULL,
                       .limits = limits,
                       .threads = 1};
    Annotated a;
    *out_sound = true;
    if (t->reader == READ_COUNTS || t->reader == READ_MEX) {
        TRY(counts_read(t->reader == READ_MEX ? directory : path, &o, &a));
        *out_sound = sound(&a);
        annotated_free(&a);
    } else if (t->reader == READ_POSITIONS) {
        SpotPositions p;
        PositionsCheck check;
        Arena arena;
        TRY(positions_read(path, &p));
        arena_init(&arena);
        Status status = positions_check(&p, NULL, 100, 100, 1, &arena, &check);
        arena_free(&arena);
        positions_free(&p);
        return status;
    } else if (t->reader == READ_SCALES) {
        ScaleFactors f;
        return scale_factors_read(path, &f);
    } else if (t->reader == READ_TABLE) {
        HestTree tree;
        TRY(hest_table_read(path, &tree));
        hest_free(&tree);
    } else {
        HestPatches p;
        TRY(hest_patches_read(path, NULL, limits, &p));
        uint8_t *pixels = p.height * p.width < 1 << 20 ? malloc(p.height * p.width * 3 + 1) : NULL;
        Status status = pixels && p.count ? hest_patches_pixels(path, &p, 0, 1, limits, pixels) : STATUS_OK;
        free(pixels);
        hest_patches_free(&p);
        return status;
    }
    return STATUS_OK;
}

static void judge(const Target *t, Status status, bool is_sound, int number, double seconds, Tally *tally) {
    const char *message = status_message(status);
    tally->cases++;
    if (seconds > tally->slowest) tally->slowest = seconds;
    if (status == STATUS_OK) tally->read++;
    else if (strstr(message, "crashed (signal") || strstr(message, "(exit status 77)")) tally->crashed++;
    else if (strstr(message, "was stopped after")) tally->stopped++;
    else tally->refused++;
    bool named = status == STATUS_OK || strstr(message, "damaged-") != NULL;
    bool ended = strstr(message, "ended early") && !strstr(message, "(exit status 77)"); // a report on our own code
    bool wrong = !is_sound || !named || status_code(status) == STATUS_INTERNAL || ended ||
                 strstr(message, "was killed") || seconds > 30;
    if (wrong) {
        tally->wrong++;
        printf("%s, case %d (%.1f s): %s%s\n", t->path, number, seconds, is_sound ? "" : "not sound; ", message);
    }
    status_drop(status);
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

// Copies the other files of a matrix directory beside the damaged one.
static void copy_beside(const char *source, const char *directory) {
    char folder[1024];
    Arena arena;
    char **names = NULL;
    size_t count = 0;
    arena_init(&arena);
    snprintf(folder, sizeof folder, "%.*s", (int)(path_base(source) - source - 1), source);
    if (CHECK_OK(directory_list(folder, &arena, &names, &count)))
        for (size_t i = 0; i < count; i++)
            if (strcmp(names[i], path_base(source)) != 0)
                made_damaged(made_below(folder, names[i]), made_below(directory, names[i]), SIZE_MAX, -1, 0);
    arena_free(&arena);
}

static void damage(const char *data, int index, double end, Tally *tally) {
    const Target *t = &targets[index];
    char source[1024], directory[1024], path[2048];
    char *bytes = NULL;
    size_t size = 0;
    bool made = strncmp(t->path, "counts_made", 11) == 0;
    snprintf(source, sizeof source, "%s/%s", made ? "tests/data/reference" : data, t->path);
    if (!made && !file_exists(source)) return;
    snprintf(directory, sizeof directory, "%s/damaged-%d", made_root, index);
    mkdir(directory, 0777);
    if (t->reader == READ_MEX) copy_beside(source, directory);
    snprintf(path, sizeof path, "%s/%s", directory, path_base(source));
    if (!CHECK_OK(file_read(source, (size_t)1 << 30, &bytes, &size))) return;
    uint64_t random = 88172645463325252u + (uint64_t)index;
    made_file(path, bytes, size);
    int descriptor = open(path, O_RDWR);
    for (int number = 0; number < CASES && seconds_now() < end; number++) {
        bool is_sound = true;
        if (number < TRUNCATIONS) {
            CHECK(ftruncate(descriptor, (off_t)(size * (size_t)number / TRUNCATIONS)) == 0);
        } else {
            size_t range = number % 2 && size > 16384 ? 16384 : size, at = (size_t)(next_random(&random) % range);
            char changed = (char)(bytes[at] ^ (char)(1 + next_random(&random) % 255));
            CHECK(pwrite(descriptor, &changed, 1, (off_t)at) == 1);
            double begin = seconds_now();
            Status status = read_one(t, path, directory, &is_sound);
            judge(t, status, is_sound, number, seconds_now() - begin, tally);
            CHECK(pwrite(descriptor, bytes + at, 1, (off_t)at) == 1);
            continue;
        }
        double begin = seconds_now();
        Status status = read_one(t, path, directory, &is_sound);
        judge(t, status, is_sound, number, seconds_now() - begin, tally);
        CHECK(pwrite(descriptor, bytes, size, 0) == (ssize_t)size);
    }
    close(descriptor);
    unlink(path);
    free(bytes);
}

int main(int count, char **arguments) {
    const char *data = count > 1 ? arguments[1] : "../shared/data";
    double seconds = count > 2 ? atof(arguments[2]) : 50, begin = seconds_now();
    if (!is_directory(data)) {
        printf("%s is not there: no samples to damage\n", data);
        return 77;
    }
    made_begin();
    fflush(stdout);
#if SANITIZED
    __asan_set_error_report_callback(on_report);
#endif
    Tally *tally = mmap(NULL, TARGETS * sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *next = mmap(NULL, sizeof *next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t worker[WORKERS];
    for (int w = 0; w < WORKERS; w++) {
        worker[w] = fork();
        if (worker[w] != 0) continue;
        for (int i; (i = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < TARGETS;) {
            // A share of what is left, twice as much as fair: most need less.
            double left = begin + seconds - seconds_now(), share = 4 * left / (TARGETS - i);
            damage(data, i, seconds_now() + (share < left ? share : left), &tally[i]);
        }
        fflush(stdout);
        _exit(checks_failed > 0);
    }
    for (int w = 0; w < WORKERS; w++) {
        int status = 0;
        waitpid(worker[w], &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0); // nobody crashed in the readers of text
    }
    Tally all = {0};
    for (int i = 0; i < TARGETS; i++) {
        const Tally *t = &tally[i];
        printf("%-58s %3d cases: %3d read, %3d refused, %3d crashed the child, %d stopped; slowest %.2f s%s\n",
               targets[i].path, t->cases, t->read, t->refused, t->crashed, t->stopped, t->slowest,
               t->cases < CASES ? " (time was up)" : "");
        CHECK(t->wrong == 0);
        all.cases += t->cases;
        all.crashed += t->crashed;
        all.stopped += t->stopped;
        all.wrong += t->wrong;
    }
    printf("%d of %d cases in %.0f s, %d crashes and %d loops of the library caught\n", all.cases, TARGETS * CASES,
           seconds_now() - begin, all.crashed, all.stopped);
    CHECK(all.cases > TARGETS * TRUNCATIONS / 2);
    made_end();
    return check_report("counts_damage");
}
