// Who reads a store at once: threads of one process, the loader's, several processes while another adds sections.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../runtime/core/clock.h"
#include "../../runtime/core/random.h"
#include "../../runtime/train/loader.h"
#include "made_store.h"

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:H5FL_\nleak:H5T_vlen_str_mem_write";
}

enum { SIDE = 24, BYTES = SIDE * SIDE * 3, SPOTS = 90, SECTIONS = 3, ROWS = SPOTS * SECTIONS };

static MadeStore plain_store(void) {
    return (MadeStore){.parameters = made_parameters(SIDE), .sections = SECTIONS, .spots = SPOTS};
}

static MadeStore jpeg_store(void) {
    MadeStore made = plain_store();
    made.parameters.jpeg = 80;
    return made;
}

// All tiles, one at a time in one thread: what everyone else must get.
static uint8_t *read_alone(const char *path) {
    Store *store = NULL;
    uint8_t *tiles = malloc((size_t)ROWS * BYTES);
    if (!CHECK_OK(store_open(path, &store))) exit(1);
    for (uint32_t i = 0; i < ROWS; i++)
        CHECK_OK(store_read_tiles(store, &(SpotRef){i / SPOTS, i % SPOTS}, 1, tiles + i * BYTES));
    store_close(store);
    return tiles;
}

// ---- Threads ------------------------------------------------------------------------------------

typedef struct Reader {
    Store *store;
    const uint8_t *expected;
    uint32_t seed;
    size_t wrong, read;
} Reader;

static void *read_shuffled(void *argument) {
    Reader *reader = argument;
    int64_t order[ROWS];
    uint8_t *tiles = malloc(16 * BYTES);
    for (int i = 0; i < ROWS; i++) order[i] = i;
    random_shuffle(order, ROWS, reader->seed, 0);
    for (int first = 0; first < ROWS; first += 16) {
        SpotRef spots[16];
        size_t count = ROWS - first < 16 ? ROWS - first : 16;
        for (size_t i = 0; i < count; i++) {
            uint32_t row = (uint32_t)order[(size_t)first + i];
            spots[i] = (SpotRef){row / SPOTS, row % SPOTS};
        }
        store_expect_tiles(reader->store, spots, count);
        Status status = store_read_tiles(reader->store, spots, count, tiles);
        if (status != STATUS_OK) reader->wrong++;
        for (size_t i = 0; i < count && status == STATUS_OK; i++) {
            int64_t row = order[(size_t)first + i];
            reader->wrong += memcmp(tiles + i * BYTES, reader->expected + row * BYTES, BYTES) != 0;
            reader->read++;
        }
        status_drop(status);
    }
    free(tiles);
    return NULL;
}

// Four threads read tiles while this one reads everything else.
static void test_threads(const char *path) {
    enum { THREADS = 4 };
    uint8_t *expected = read_alone(path);
    pthread_t thread[THREADS];
    Reader reader[THREADS];
    Store *store = NULL;
    float value = 0;
    if (!CHECK_OK(store_open(path, &store))) return;
    for (uint32_t t = 0; t < THREADS; t++) {
        reader[t] = (Reader){store, expected, t + 1, 0, 0};
        CHECK(pthread_create(&thread[t], NULL, read_shuffled, &reader[t]) == 0);
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        SpotRef spot = {i % SECTIONS, i / SECTIONS};
        CHECK_OK(store_read_table(store, 0, &spot, 1, &value));
        CHECK(value == (float)(spot.section * 100000 + spot.row));
        CHECK_OK(store_read_counts(store, &spot, 1, NULL, 1, &value));
        CHECK(value == (float)(spot.row + 1));
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(thread[t], NULL);
        CHECK(reader[t].wrong == 0 && reader[t].read == ROWS);
    }
    store_close(store);
    free(expected);
}

// ---- The loader ---------------------------------------------------------------------------------

typedef struct Loading {
    Rows *rows;
    Loader *loader;
    MadeProgram program;
    RowFeed feeds[2];
    int64_t order[ROWS];
} Loading;

static bool loading_begin(Loading *l, const char *path, int feeds, int64_t batch, int threads) {
    memset(l, 0, sizeof *l);
    made_program(&l->program, SIDE);
    for (int i = 0; i < ROWS; i++) l->order[i] = i;
    random_shuffle(l->order, ROWS, (uint32_t)(batch + threads), 0);
    bool ready = CHECK_OK(rows_open(&path, 1, &l->rows)) &&
                 CHECK_OK(made_feeds(&l->program, l->rows, feeds, l->feeds)) &&
                 CHECK_OK(loader_new(l->rows, l->feeds, feeds, batch, &l->loader));
    if (ready && threads) loader_threads(l->loader, threads);
    return ready;
}

static void loading_end(Loading *l) {
    loader_free(l->loader);
    rows_close(l->rows);
}

// One batch against what each row must be. True if it was the last.
static bool check_batch(Loading *l, int feeds, int64_t batch, int64_t index, const uint8_t *expected, int64_t count) {
    Batch got;
    size_t right = 0;
    int64_t left = count - index * batch, rows = left < batch ? left : batch;
    if (!CHECK_OK(loader_next(l->loader, &got))) return true;
    if (left <= 0) return CHECK(got.rows == 0);
    if (!CHECK(got.rows == rows && got.index == index)) return true;
    for (int64_t i = 0; i < rows; i++) {
        int64_t row = l->order[index * batch + i];
        bool same = memcmp((uint8_t *)got.data[0] + i * BYTES, expected + row * BYTES, BYTES) == 0;
        if (feeds > 1) same = same && ((float *)got.data[1])[i] == (float)(row / SPOTS * 100000 + row % SPOTS);
        right += same;
    }
    CHECK(right == (size_t)rows);
    return false;
}

static void test_loader(const char *path) {
    static const int64_t batches[] = {1, 7, 32, 90, ROWS - 1, ROWS, 2 * ROWS};
    uint8_t *expected = read_alone(path);
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        for (int threads = 0; threads <= 5; threads++) {
            Loading l;
            int64_t batch = batches[b];
            int feeds = 1 + (threads + (int)b) % 2;
            if (!loading_begin(&l, path, feeds, batch, threads)) continue;
            // Left after some batches, begun again in the middle, and the whole.
            CHECK_OK(loader_start(l.loader, l.order, ROWS, 0));
            for (int64_t i = 0; i < 3; i++)
                if (check_batch(&l, feeds, batch, i, expected, ROWS)) break;
            int64_t first = ROWS / batch / 2;
            CHECK_OK(loader_start(l.loader, l.order, ROWS, first));
            for (int64_t i = first; !check_batch(&l, feeds, batch, i, expected, ROWS);) i++;
            loader_stop(l.loader);
            Batch none;
            CHECK_OK(loader_next(l.loader, &none));
            CHECK(none.rows == 0);
            CHECK_OK(loader_start(l.loader, l.order, ROWS - 5, 0));
            for (int64_t i = 0; !check_batch(&l, feeds, batch, i, expected, ROWS - 5);) i++;
            CHECK(check_batch(&l, feeds, batch, ROWS, expected, ROWS - 5)); // the end stays the end
            CHECK_OK(loader_start(l.loader, l.order, ROWS, 0));             // and freed while it reads
            loading_end(&l);
        }
    }
    free(expected);
}

// A damaged tile in the third batch: two batches come, then its error, then nothing.
static void test_failure(const char *path) {
    const char *broken = made_path("broken.h5");
    uint8_t tile[BYTES];
    char *data = NULL;
    size_t size = 0;
    made_tile(1, 50, SIDE, tile);
    CHECK_OK(file_read(path, (size_t)1 << 28, &data, &size));
    char *place = memmem(data, size, tile, BYTES);
    if (!CHECK(place != NULL)) return;
    made_damaged(path, broken, (size_t)-1, place - data + 77, 4);
    free(data);
    for (int threads = 1; threads <= 4; threads++) {
        for (int again = 0; again < 2; again++) {
            Loading l;
            Batch batch;
            if (!loading_begin(&l, broken, 2, 40, threads)) continue;
            for (int i = 0; i < ROWS; i++) l.order[i] = i;
            l.order[2 * 40 + 33] = SPOTS + 50;
            l.order[SPOTS + 50] = 2 * 40 + 33;
            CHECK_OK(loader_start(l.loader, l.order, ROWS, 0));
            for (int64_t i = 0; i < 2; i++) {
                CHECK_OK(loader_next(l.loader, &batch));
                CHECK(batch.rows == 40 && batch.index == i);
            }
            CHECK_FAILS(loader_next(l.loader, &batch), STATUS_MALFORMED, "section S1: the tile of spot 51x1 (row 50)");
            CHECK_OK(loader_next(l.loader, &batch));
            CHECK(batch.rows == 0);
            // The same loader goes on with other rows.
            CHECK_OK(loader_start(l.loader, l.order, 80, 0));
            CHECK_OK(loader_next(l.loader, &batch));
            CHECK(batch.rows == 40);
            if (again) loader_stop(l.loader);
            loading_end(&l);
        }
    }
}

// ---- Processes ----------------------------------------------------------------------------------

enum { READERS = 4, FIRST = 2, ADDED = 6, FEW = 40, ROUNDS = 400 };

static uint64_t hash_of(const uint8_t *tile) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < BYTES; i++) hash = (hash ^ tile[i]) * 0x100000001b3u;
    return hash;
}

// Opens the store again and again until all sections are there: each time it is whole, has at least the sections it had
// before, and every row is what it is known to be. 0: so it was.
static int read_growing(const char *path, uint32_t seed, const uint64_t (*hashes)[FEW]) {
    size_t seen = FIRST;
    for (int round = 0; round < ROUNDS; round++) {
        Store *store = NULL;
        int64_t order[(FIRST + ADDED) * FEW];
        uint8_t tile[BYTES];
        float number;
        if (!CHECK_OK(store_open(path, &store))) return 1;
        size_t sections = store_info(store)->n_sections;
        if (!CHECK(sections >= seen && sections <= FIRST + ADDED)) return 2;
        seen = sections;
        if (!CHECK_OK(store_check(store))) return 3;
        for (size_t i = 0; i < sections * FEW; i++) order[i] = (int64_t)i;
        random_shuffle(order, sections * FEW, seed, (uint32_t)round);
        for (size_t i = 0; i < sections * FEW; i++) {
            SpotRef spot = {(uint32_t)(order[i] / FEW), (uint32_t)(order[i] % FEW)};
            if (!CHECK_OK(store_read_tiles(store, &spot, 1, tile)) ||
                !CHECK_OK(store_read_table(store, 0, &spot, 1, &number)))
                return 4;
            if (!CHECK(hash_of(tile) == hashes[spot.section][spot.row]) ||
                !CHECK(number == (float)(spot.section * 100000 + spot.row)))
                return 5;
        }
        store_close(store);
        if (sections == FIRST + ADDED) return 0;
    }
    return 6; // the sections never came
}

static int add_sections(const char *path, MadeStore made) {
    made.append = true;
    made.sections = 1;
    for (made.first = FIRST; made.first < FIRST + ADDED; made.first++)
        if (!CHECK_OK(made_store(path, made))) return 1;
    return 0;
}

static int child_result(pid_t child) {
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void leave(int result) {
    fflush(stdout);
    _exit(result);
}

static void test_processes(MadeStore made) {
    static uint64_t hashes[FIRST + ADDED][FEW];
    const char *path = made_path("growing.h5"), *whole = made_path("grown.h5");
    Store *store = NULL;
    uint8_t tile[BYTES];
    made.spots = FEW;
    made.sections = FIRST + ADDED;
    CHECK_OK(made_store(whole, made));
    if (!CHECK_OK(store_open(whole, &store))) return;
    for (uint32_t i = 0; i < (FIRST + ADDED) * FEW; i++) {
        CHECK_OK(store_read_tiles(store, &(SpotRef){i / FEW, i % FEW}, 1, tile));
        hashes[i / FEW][i % FEW] = hash_of(tile);
    }
    store_close(store);
    made.sections = FIRST;
    CHECK_OK(made_store(path, made));
    pid_t child[READERS + 1];
    fflush(stdout);
    for (int c = 0; c <= READERS; c++) {
        child[c] = fork();
        if (child[c] == 0) leave(c < READERS ? read_growing(path, (uint32_t)c + 1, hashes) : add_sections(path, made));
    }
    for (int c = 0; c <= READERS; c++) CHECK(child_result(child[c]) == 0);
    if (!CHECK_OK(store_open(path, &store))) return;
    CHECK(store_info(store)->n_sections == FIRST + ADDED);
    CHECK_OK(store_check(store));
    store_close(store);
}

// One process is adding; another that tries meanwhile is refused, and may add afterwards.
static void test_two_writers(void) {
    const char *path = made_path("two.h5");
    MadeStore made = jpeg_store();
    StoreWriter *writer = NULL;
    made.sections = 1;
    CHECK_OK(made_store(path, made));
    made.append = true;
    made.first = 1;
    if (!CHECK_OK(store_append(path, -1, &writer))) return;
    for (int turn = 0; turn < 2; turn++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            Status status = made_store(path, made);
            bool refused = status_code(status) == STATUS_IO &&
                           strstr(status_message(status), "another process is adding to this store");
            int result = status == STATUS_OK ? 0 : refused ? 7 : 8;
            status_drop(status);
            leave(result);
        }
        CHECK(child_result(child) == (turn == 0 ? 7 : 0));
        if (turn == 0) store_abandon(writer);
    }
    Store *store = NULL;
    if (!CHECK_OK(store_open(path, &store))) return;
    CHECK(store_info(store)->n_sections == 2);
    CHECK_OK(store_check(store));
    store_close(store);
    // Several at once, each until it has had its turn: nobody's section is lost.
    pid_t child[3];
    for (uint32_t c = 0; c < 3; c++) {
        child[c] = fork();
        if (child[c] != 0) continue;
        made.first = 2 + c;
        for (double end = clock_seconds() + 60; clock_seconds() < end; usleep(2000 + 500 * c)) {
            Status status = made_store(path, made);
            bool done = status == STATUS_OK, wait = status_code(status) == STATUS_IO;
            status_drop(status);
            if (done) leave(0);
            if (!wait) leave(9);
        }
        leave(10);
    }
    for (int c = 0; c < 3; c++) CHECK(child_result(child[c]) == 0);
    if (!CHECK_OK(store_open(path, &store))) return;
    CHECK(store_info(store)->n_sections == 5);
    CHECK_OK(store_check(store));
    store_close(store);
}

// A process that adds section after section is killed at some moment: the store is whole, with the sections that were
// finished, nobody holds its lock, and no packed tiles are left beside it.
static void test_killed(void) {
    const char *path = made_path("killed.h5");
    MadeStore made = jpeg_store();
    size_t sections = 1, unfinished = 0;
    made.sections = 1;
    CHECK_OK(made_store(path, made));
    made.append = true;
    for (int turn = 0; turn < 12; turn++) {
        Store *store = NULL;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            for (made.first = (uint32_t)sections; made.first < 1000; made.first++)
                if (made_store(path, made) != STATUS_OK) leave(1);
            leave(0);
        }
        usleep((useconds_t)(3000 + 1700 * turn));
        kill(child, SIGKILL);
        CHECK(child_result(child) == -1);
        if (!CHECK_OK(store_open(path, &store))) return;
        CHECK(store_info(store)->n_sections >= sections);
        sections = store_info(store)->n_sections;
        CHECK_OK(store_check(store));
        store_close(store);
    }
    made.first = (uint32_t)sections;
    CHECK_OK(made_store(path, made));
    DIR *directory = opendir(made_root);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        CHECK(!dot || strcmp(dot, ".tiles") != 0);
        unfinished += strncmp(entry->d_name, "killed.h5", 9) != 0 && strstr(entry->d_name, "killed.h5") != NULL;
    }
    if (directory) closedir(directory);
    printf("killed 12 times: %zu sections were finished, %zu unfinished files lie about\n", sections, unfinished);
}

int main(void) {
    char plain[600], jpeg[600];
    made_begin();
    // Processes first: a program with threads should not fork.
    test_processes(plain_store());
    test_processes(jpeg_store());
    test_two_writers();
    test_killed();
    snprintf(plain, sizeof plain, "%s", made_path("plain.h5"));
    snprintf(jpeg, sizeof jpeg, "%s", made_path("jpeg.h5"));
    CHECK_OK(made_store(plain, plain_store()));
    CHECK_OK(made_store(jpeg, jpeg_store()));
    test_threads(plain);
    test_threads(jpeg);
    test_loader(plain);
    test_loader(jpeg);
    test_failure(plain);
    made_end();
    return check_report("store_readers");
}
