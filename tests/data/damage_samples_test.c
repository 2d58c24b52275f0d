// Damage: every sample, and the small files made for what the samples lack, truncated at 20 places and with 200 single
// bytes changed at random (every second one in the first 16 KB, where most formats keep their structure). Nothing may
// crash, hang, take memory out of proportion or speak of an internal error; every refusal names the file; a cut file
// is refused wherever a part cannot be a whole; what is read in spite of the damage is sound.
//
// Usage: damage_samples_test DATA SECONDS|all [WORKERS [READER]]: workers share the cases, a few of every file first;
// when the time is up the rest is left out, and the report says how many were run. `all` runs every case. READER (a
// name of damage_read.h, such as "counts") leaves out what other readers read.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "../../runtime/data/store.h"
#include "damage_read.h"
#include "made.h"
#include "library_faults.h"

enum { LEAKED = 78 };

#if SANITIZED
int __lsan_do_recoverable_leak_check(void);
const char *__lsan_default_suppressions(void);
const char *__asan_default_options(void);
const char *__lsan_default_options(void);

const char *__lsan_default_options(void) {
    return "print_suppressions=0";
}

const char *__asan_default_options(void) {
    return "allocator_may_return_null=1:quarantine_size_mb=64";
}

// HDF5 keeps memory in lists of its own for the next time.
const char *__lsan_default_suppressions(void) {
    return "leak:H5FL_\nleak:H5MM_\nleak:libhdf5\n";
}

static int leaks(void) {
    return __lsan_do_recoverable_leak_check();
}
#else
static int leaks(void) {
    return 0;
}
#endif

enum { TRUNCATIONS = 20, FLIPS = 200, CASES = TRUNCATIONS + FLIPS, PARTS = 11, PER_PART = CASES / PARTS };
enum { MOST_TARGETS = 400, MOST_WORKERS = 16, LONGEST = 90, MOST_MEGABYTES = 3000 }; // seconds and memory of one case

typedef struct Target {
    DamageReader reader;
    char path[600];
    const char *shown; // of the path: without the directories above the samples
    uint64_t digest;   // of what an undamaged one gives
} Target;

static Target targets[MOST_TARGETS];
static int n_targets;
static const char *only; // NULL: every reader

typedef struct Tally {
    int cases, same, other, refused, crashed, stopped, wrong; // crashed, stopped: HDF5, in its guard
    double slowest, seconds;
} Tally;

typedef struct Worker { // what it is doing now
    pid_t pid;
    int task, number; // of the case in the task; -1: between tasks
    double began;
} Worker;

typedef struct Shared {
    int next, leaking, most_megabytes;
    Worker worker[MOST_WORKERS];
    Tally tally[MOST_TARGETS];
} Shared;

static Shared *shared;

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// ---- What is damaged ------------------------------------------------------------------------------

static void add_target(const char *path, size_t above) {
    DamageReader reader = damage_reader_of(path);
    if (reader == DAMAGE_NOTHING || n_targets == MOST_TARGETS) return;
    if (only && strcmp(only, damage_reader_name(reader)) != 0) return;
    Target *t = &targets[n_targets++];
    t->reader = reader;
    snprintf(t->path, sizeof t->path, "%s", path);
    t->shown = t->path + above;
}

static void add_directory(const char *path, size_t above) {
    Arena arena;
    char **names = NULL;
    size_t count = 0;
    arena_init(&arena);
    if (CHECK_OK(directory_list(path, &arena, &names, &count)))
        for (size_t i = 0; i < count; i++) {
            const char *below = path_join(&arena, path, names[i]);
            if (is_directory(below)) add_directory(below, above);
            else add_target(below, above);
        }
    arena_free(&arena);
}

static Status fill_tiles(void *context, size_t first, size_t count, uint8_t *tiles) {
    size_t tile = 3 * 16 * 16;
    (void)context;
    for (size_t i = 0; i < count * tile; i++) tiles[i] = (uint8_t)((first + i / tile) * 50 + i % tile * i / 7);
    return STATUS_OK;
}

// A store of four spots whose tiles are kept as pixels, deflated or as JPEG.
static void make_store(const char *path, int deflate, int jpeg) {
    static char *ids[] = {"2x3", "4x5", "6x7", "8x9"}, *genes[] = {"A", "B", "C"}, *columns[] = {"T", "S"};
    static int32_t array[8] = {2, 3, 4, 5, 6, 7, 8, 9}, indices[] = {1, 2, 0, 2};
    static double exact[8] = {2, 3, 4, 5, 6, 7, 8, 9}, pixel[8] = {10, 20, 30, 40, 50, 60, 70, 80};
    static int64_t indptr[] = {0, 2, 3, 3, 4};
    static uint32_t counts[] = {5, 1, 2, 3};
    static float values[8] = {0.5f, 0.5f, 1, 0, 0.25f, 0.75f, 0, 1};
    static uint8_t rgb[8 * 8 * 3];
    SpotTable table = {.name = "major", .n_columns = 2, .columns = columns, .values = values};
    Picture thumbnail = {.width = 8, .height = 8, .rgb = rgb};
    Section section = {.name = "A",
                       .n_spots = 4,
                       .ids = ids,
                       .array = array,
                       .array_exact = exact,
                       .pixel = pixel,
                       .n_genes = 3,
                       .genes = genes,
                       .indptr = indptr,
                       .indices = indices,
                       .counts = counts,
                       .n_tables = 1,
                       .tables = &table};
    StoreSectionExtra extra = {.image_width = 100,
                               .image_height = 100,
                               .scale_x = 0.5,
                               .scale_y = 0.5,
                               .pitch_x = 10,
                               .pitch_y = 10,
                               .thumbnail = &thumbnail,
                               .inputs = "[]",
                               .left_out = "{}",
                               .tiles = fill_tiles};
    StoreParameters parameters = {.program = "damage",
                                  .tile_size = 16,
                                  .tile_pitch = 5,
                                  .filter = "bilinear",
                                  .edge = "replicate",
                                  .deflate = deflate,
                                  .jpeg = jpeg};
    StoreWriter *writer = NULL;
    if (!CHECK_OK(store_create(path, &parameters, &writer))) return;
    if (!CHECK_OK(store_add_section(writer, &section, &extra))) store_abandon(writer);
    else CHECK_OK(store_finish(writer));
}

// ---- One case -------------------------------------------------------------------------------------

static uint64_t random_of(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void say(const Target *t, int number, double seconds, const char *what, const char *message) {
    char line[4096];
    int length =
        snprintf(line, sizeof line, "%s, case %d (%.1f s): %s: %s\n", t->shown, number, seconds, what, message);
    if (write(1, line, (size_t)(length < (int)sizeof line ? length : (int)sizeof line - 1)) < 0) exit(3);
}

static void count(int *number) {
    __atomic_fetch_add(number, 1, __ATOMIC_RELAXED);
}

static void judge(const Target *t, Status status, uint64_t digest, int number, bool truncated, double seconds) {
    Tally *tally = &shared->tally[t - targets];
    const char *message = status_message(status), *wrong = NULL;
    struct rusage self, children;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    long kilobytes = self.ru_maxrss > children.ru_maxrss ? self.ru_maxrss : children.ru_maxrss;
    bool lost = truncated && !damage_is_plain_text(t->reader, t->path) && digest != t->digest;
    count(&tally->cases);
    if (seconds > tally->slowest) tally->slowest = seconds;
    if (status == STATUS_OK) count(digest == t->digest ? &tally->same : &tally->other);
    else if (strstr(message, "crashed (signal") || strstr(message, "(exit status 77)")) count(&tally->crashed);
    else if (strstr(message, "was stopped after")) count(&tally->stopped);
    else count(&tally->refused);
    if (status != STATUS_OK && !strstr(message, "damaged-")) wrong = "the file is not named";
    if (status_code(status) == STATUS_INTERNAL) wrong = "an internal error";
    if (strstr(message, "ended early") && !strstr(message, "(exit status 77)")) wrong = "our own code failed";
    if (strstr(message, "was killed")) wrong = "killed";
    if (status == STATUS_OK && lost) wrong = "a cut file was read";
    if (seconds > LONGEST) wrong = "too slow";
    if (kilobytes / 1000 > shared->most_megabytes) shared->most_megabytes = (int)(kilobytes / 1000);
    if (kilobytes / 1000 > MOST_MEGABYTES) wrong = "memory out of proportion";
    if (wrong) {
        count(&tally->wrong);
        say(t, number, seconds, wrong, message);
    }
    status_drop(status);
}

// Copies the other files of a matrix directory beside the damaged one.
static void copy_beside(const char *source, const char *directory) {
    char folder[1024];
    Arena arena;
    char **names = NULL;
    size_t n = 0;
    arena_init(&arena);
    snprintf(folder, sizeof folder, "%.*s", (int)(path_base(source) - source - 1), source);
    if (CHECK_OK(directory_list(folder, &arena, &names, &n)))
        for (size_t i = 0; i < n; i++)
            if (strcmp(names[i], path_base(source)) != 0)
                made_damaged(made_below(folder, names[i]), made_below(directory, names[i]), SIZE_MAX, -1, 0);
    arena_free(&arena);
}

static void run_case(const Target *t, const char *directory, const char *path, const char *bytes, size_t size,
                     int number) {
    uint64_t random = 88172645463325252u + (uint64_t)(t - targets) * 1000 + (uint64_t)number, digest = 0;
    int descriptor = open(path, O_RDWR), flip = number - number / PARTS - 1; // every eleventh case is a cut
    bool cut = number % PARTS == 0;
    size_t at = 0;
    for (int i = 0; i < 4; i++) random_of(&random);
    if (descriptor < 0) exit(3);
    if (cut) {
        CHECK(ftruncate(descriptor, (off_t)(size * (size_t)(number / PARTS) / TRUNCATIONS)) == 0);
    } else {
        size_t range = flip % 2 && size > 16384 ? 16384 : size;
        at = (size_t)(random_of(&random) % range);
        char changed = (char)(bytes[at] ^ (char)(1 + random_of(&random) % 255));
        CHECK(pwrite(descriptor, &changed, 1, (off_t)at) == 1);
    }
    double begin = seconds_now();
    Status status = damage_read(t->reader, path, directory, &digest);
    judge(t, status, digest, number, cut, seconds_now() - begin);
    if (cut) CHECK(pwrite(descriptor, bytes, size, 0) == (ssize_t)size);
    else CHECK(pwrite(descriptor, bytes + at, 1, (off_t)at) == 1);
    close(descriptor);
}

// ---- Workers --------------------------------------------------------------------------------------

// A task is one part of the cases of one target: part by part, so that every file has its turn early.
static void run_task(int me, int task, int from, double end) {
    Target *t = &targets[task % n_targets];
    Worker *w = &shared->worker[me];
    char directory[1024], path[2048];
    char *bytes = NULL;
    size_t size = 0;
    snprintf(directory, sizeof directory, "%s/damaged-%d", made_root, me);
    CHECK(mkdir(directory, 0777) == 0 || errno == EEXIST);
    if (t->reader == DAMAGE_MEX) copy_beside(t->path, directory);
    snprintf(path, sizeof path, "%s/%s", directory, path_base(t->path));
    if (!CHECK_OK(file_read(t->path, (size_t)1 << 30, &bytes, &size))) return;
    made_file(path, bytes, size);
    double begin = seconds_now();
    for (int i = from; i < PER_PART && seconds_now() < end; i++) {
        w->began = seconds_now();
        w->task = task;
        w->number = i;
        run_case(t, directory, path, bytes, size, task / n_targets * PER_PART + i);
    }
    w->number = -1;
    Tally *tally = &shared->tally[t - targets];
    tally->seconds += seconds_now() - begin;
    free(bytes);
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0) exit(3);
    if (leaks()) {
        count(&shared->leaking);
        say(t, task, 0, "memory was not given back", "see the report above");
    }
}

static void work(int me, int task, int from, double end) {
    shared->worker[me].number = -1;
    while (task < n_targets * PARTS && seconds_now() < end) {
        // A share of what is left, four times as much as fair: most need less.
        double left = end - seconds_now(), share = 4 * left / (double)(n_targets - task % n_targets);
        run_task(me, task, from, share < left ? seconds_now() + share : end);
        task = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED);
        from = 0;
    }
    fflush(stdout);
    _exit(checks_failed > 0);
}

static void start(int me, int task, int from, double end) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) work(me, task, from, end);
    shared->worker[me].pid = pid;
}

static long resident_megabytes(pid_t pid) {
    char name[64];
    long pages = 0, resident = 0;
    snprintf(name, sizeof name, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(name, "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
    fclose(file);
    return resident / 256;
}

// Waits for all; one that dies or hangs has failed its case, and another goes on after it.
static void watch(int workers, double end) {
    int running = workers;
    while (running > 0) {
        usleep(50000);
        for (int i = 0; i < workers; i++) {
            Worker *w = &shared->worker[i];
            int status = 0;
            if (w->pid <= 0) continue;
            bool busy = w->number >= 0, hangs = busy && seconds_now() - w->began > 2 * LONGEST;
            if (hangs || resident_megabytes(w->pid) > 2 * MOST_MEGABYTES) kill(w->pid, SIGKILL);
            if (waitpid(w->pid, &status, WNOHANG) != w->pid) continue;
            w->pid = 0;
            running--;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
            CHECK(!"a worker ended early");
            if (w->number < 0) continue;
            const Target *t = &targets[w->task % n_targets];
            say(t, w->task / n_targets * PER_PART + w->number, seconds_now() - w->began,
                hangs ? "it hung" : "it crashed the process", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "");
            count(&shared->tally[w->task % n_targets].wrong);
            running++;
            start(i, w->task, w->number + 1, end);
        }
    }
}

static Tally report(void) {
    Tally all = {0}, by[DAMAGE_READERS] = {0};
    for (int i = 0; i < n_targets; i++) {
        const Tally *t = &shared->tally[i];
        printf("%-66s %3d cases: %3d refused, %3d the same, %3d other values, %3d crashed and %d looped in the guard; "
               "slowest %.2f s%s\n",
               targets[i].shown, t->cases, t->refused, t->same, t->other, t->crashed, t->stopped, t->slowest,
               t->cases < CASES ? " (not all)" : "");
        CHECK(t->wrong == 0);
        Tally *sums[2] = {&all, &by[targets[i].reader]};
        for (int k = 0; k < 2; k++) {
            sums[k]->cases += t->cases, sums[k]->refused += t->refused, sums[k]->same += t->same;
            sums[k]->other += t->other, sums[k]->crashed += t->crashed, sums[k]->stopped += t->stopped;
            sums[k]->wrong += t->wrong, sums[k]->seconds += t->seconds;
            if (t->slowest > sums[k]->slowest) sums[k]->slowest = t->slowest;
        }
    }
    printf("\n%-14s %7s %8s %9s %13s %8s %7s %6s %9s %8s\n", "reader", "cases", "refused", "the same", "other values",
           "crashed", "looped", "wrong", "slowest s", "seconds");
    for (int r = 1; r <= DAMAGE_READERS; r++) {
        const Tally *t = r < DAMAGE_READERS ? &by[r] : &all;
        printf("%-14s %7d %8d %9d %13d %8d %7d %6d %9.2f %8.0f\n", r < DAMAGE_READERS ? damage_reader_name(r) : "all",
               t->cases, t->refused, t->same, t->other, t->crashed, t->stopped, t->wrong, t->slowest, t->seconds);
    }
    return all;
}

int main(int n, char **arguments) {
    const char *data = n > 1 ? arguments[1] : "../shared/data";
    bool everything = n > 2 && strcmp(arguments[2], "all") == 0;
    double begin = seconds_now(), end = begin + (everything ? 1e6 : n > 2 ? atof(arguments[2]) : 40);
    int workers = n > 3 ? atoi(arguments[3]) : 2;
    only = n > 4 ? arguments[4] : NULL;
    if (!is_directory(data)) {
        printf("%s is not there: no samples to damage\n", data);
        return 77;
    }
    if (workers < 1 || workers > MOST_WORKERS) workers = 2;
    made_begin();
    mkdir(made_path("made"), 0777);
    make_store(made_path("made/store_pixels.h5"), 0, 0);
    make_store(made_path("made/store_deflated.h5"), 3, 0);
    make_store(made_path("made/store_jpeg.h5"), 0, 80);
    add_directory(data, strlen(data) + 1);
    add_directory("tests/data/reference/weights", strlen("tests/data/"));
    static const char *const made[] = {"columns.h5ad",        "csc.h5ad",     "several_chunks.h5ad",
                                       "unsorted.h5ad",       "elucidata.h5", "hest/HEST_v1_3_0.csv",
                                       "hest/patches/SPA1.h5"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        add_target(made_below("tests/data/reference/counts_made", made[i]), strlen("tests/data/reference/"));
    add_directory(made_path("made"), strlen(made_root) + 1);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 3;
    library_faults_excused();
    for (int i = 0; i < n_targets; i++) { // what undamaged ones give; also: all of them can be read
        uint64_t digest = 0;
        char directory[1024];
        snprintf(directory, sizeof directory, "%.*s", (int)(path_base(targets[i].path) - targets[i].path - 1),
                 targets[i].path);
        Status status = damage_read(targets[i].reader, targets[i].path, directory, &digest);
        bool refused =
            strstr(targets[i].path, ".parquet") != NULL || strncmp(path_base(targets[i].path), "bad_", 4) == 0;
        if (refused) status_drop(status);
        else if (!CHECK_OK(status)) printf("    that was %s\n", targets[i].shown);
        targets[i].digest = digest;
    }
    shared->next = workers;
    for (int i = 0; i < workers; i++) start(i, i, 0, end);
    watch(workers, end);
    Tally all = report();
    printf("%d of %d cases of %d files in %.0f s with %d workers; at most %d MB; %d crashes and %d loops of HDF5 in "
           "guarded children\n",
           all.cases, n_targets * CASES, n_targets, seconds_now() - begin, workers, shared->most_megabytes, all.crashed,
           all.stopped);
    CHECK(shared->leaking == 0);
    CHECK(all.cases >= (everything ? n_targets * CASES : n_targets));
    made_end();
    return check_report("damage_samples");
}
