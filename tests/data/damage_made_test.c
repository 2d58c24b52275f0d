// Damage that no random byte makes: files that lie about their size, bombs, links that lead in circles or out of the
// file, pickles that name what they must not, the wrong kind of file, and directories, pipes and empty files where a
// file should be. Each is read in a process of its own, which must end in time, within its memory, with an error that
// names the file.
//
// Usage: damage_made_test [DATA]: with the samples, every reader also gets a file of every other kind.
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <hdf5.h>

#include "../../runtime/core/json.h"
#include "../../runtime/data/image.h"
#include "../../runtime/data/lines.h"
#include "../../runtime/data/npy.h"
#include "../../runtime/data/safetensors.h"
#include "../../runtime/data/vocabulary.h"
#include "damage_read.h"
#include "made_tiff.h"

#if defined(__SANITIZE_ADDRESS__)
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1:quarantine_size_mb=64:detect_leaks=0"; // damage_samples_test looks for leaks
}
#endif

enum { LONGEST = 40, MOST_MEGABYTES = 2600, MESSAGE = 2000 };

typedef struct Outcome {
    StatusCode code;
    char message[MESSAGE];
} Outcome;

// ---- More doors ------------------------------------------------------------------------------------

static Status open_vocabulary(const char *path) {
    Vocabulary v;
    TRY(vocabulary_read(path, 0, &v));
    vocabulary_free(&v);
    return STATUS_OK;
}

static Status open_npy(const char *path) {
    NpyFile file;
    TRY(npy_open(path, &file));
    npy_close(&file);
    return STATUS_OK;
}

static Status open_safetensors(const char *path) {
    SafeFile file;
    TRY(safetensors_open(path, &file));
    safetensors_close(&file);
    return STATUS_OK;
}

static Status open_image(const char *path) {
    Picture picture = {0};
    Status status = image_load(path, (size_t)1 << 30, &picture);
    picture_free(&picture);
    return status;
}

static Status open_lines(const char *path) {
    LineReader *lines = NULL;
    char *line = NULL;
    size_t length = 0;
    TRY(lines_open(path, &lines));
    Status status = lines_next(lines, &line, &length);
    while (status == STATUS_OK && line) status = lines_next(lines, &line, &length);
    lines_close(lines);
    return status;
}

static Status open_whole(const char *path) { // and JSON
    char *data = NULL;
    size_t size = 0;
    Arena arena;
    JsonValue *value = NULL;
    TRY(file_read(path, (size_t)1 << 26, &data, &size));
    arena_init(&arena);
    Status status = json_parse(path, data, size, &arena, &value);
    arena_free(&arena);
    free(data);
    return status;
}

static Status (*const doors[])(const char *path) = {open_vocabulary, open_npy,   open_safetensors,
                                                    open_image,      open_lines, open_whole};
enum { DOORS = sizeof doors / sizeof *doors, ALL_DOORS = DAMAGE_READERS + DOORS };

static const char *door_name(int door) {
    static const char *const names[DOORS] = {"vocabulary", "NPY", "safetensors", "image_load", "lines", "JSON"};
    return door < DAMAGE_READERS ? damage_reader_name((DamageReader)door) : names[door - DAMAGE_READERS];
}

static Status through(int door, const char *path) {
    uint64_t digest = 0;
    if (door >= DAMAGE_READERS) return doors[door - DAMAGE_READERS](path);
    return damage_read((DamageReader)door, path, made_root, &digest);
}

// ---- A process for each ------------------------------------------------------------------------------

static int cases, most_megabytes;
static double slowest;

static Outcome attempt(int door, const char *path) {
    static Outcome *shared;
    if (!shared) shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) exit(3);
    *shared = (Outcome){.code = STATUS_INTERNAL, .message = "it crashed"};
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(LONGEST); // also ends who waits for a pipe
        Status status = through(door, path);
        shared->code = status_code(status);
        snprintf(shared->message, MESSAGE, "%s", status_message(status));
        _exit(0);
    }
    int end = 0;
    struct rusage usage;
    wait4(pid, &end, 0, &usage);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double seconds = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
    int megabytes = (int)(usage.ru_maxrss / 1000);
    if (WIFSIGNALED(end) && WTERMSIG(end) == SIGALRM) snprintf(shared->message, MESSAGE, "it took too long");
    else if (!WIFEXITED(end) || WEXITSTATUS(end) != 0) shared->code = STATUS_INTERNAL;
    if (megabytes > MOST_MEGABYTES) {
        shared->code = STATUS_INTERNAL;
        snprintf(shared->message, MESSAGE, "it took %d MB", megabytes);
    }
    cases++;
    if (seconds > slowest) slowest = seconds;
    if (megabytes > most_megabytes) most_megabytes = megabytes;
    if (getenv("CHECK_VERBOSE")) printf("    %.2f s, %d MB: %s\n", seconds, megabytes, shared->message);
    return *shared;
}

// The message must name the file and, if given, say `part`.
static bool refused(int door, const char *path, const char *part) {
    Outcome o = attempt(door, path);
    bool fine = o.code != STATUS_CODE_OK && o.code != STATUS_INTERNAL && strstr(o.message, path) &&
                (!part || strstr(o.message, part));
    if (!fine)
        printf("    %s reader, %s: [%s] %s%s%s\n", door_name(door), path_base(path), status_code_name(o.code),
               o.message, part ? "; expected: " : "", part ? part : "");
    return fine;
}

// Must end well, with or without data.
static bool survives(int door, const char *path) {
    Outcome o = attempt(door, path);
    bool fine = o.code == STATUS_CODE_OK || (o.code != STATUS_INTERNAL && strstr(o.message, path));
    if (!fine)
        printf("    %s reader, %s: [%s] %s\n", door_name(door), path_base(path), status_code_name(o.code), o.message);
    return fine;
}

// ---- Not a file at all ---------------------------------------------------------------------------------

static void test_no_file(void) {
    const char *things[] = {made_path("directory"), made_path("pipe"),    made_path("empty"), made_path("circle"),
                            made_path("nowhere"),   made_path("nothing"), "/dev/null",        "/dev/zero"};
    CHECK(mkdir(things[0], 0777) == 0 && mkfifo(things[1], 0666) == 0);
    made_text(things[2], "");
    CHECK(symlink("circle", things[3]) == 0 && symlink("nothing", things[4]) == 0);
    for (size_t i = 0; i < sizeof things / sizeof *things; i++)
        for (int door = 1; door < ALL_DOORS; door++) {
            if (door == DAMAGE_MEX) continue;                  // reads a directory: below
            bool lines = door - DAMAGE_READERS == 4 && i == 2; // a text file without lines is one
            CHECK(lines ? survives(door, things[i]) : refused(door, things[i], NULL));
        }
    // Parts of a 10x directory and of a Space Ranger directory that are no files.
    static const char *const parts[] = {"matrix.mtx", "barcodes.tsv", "features.tsv"};
    for (int i = 0; i < 3; i++)
        for (int what = 0; what < 3; what++) {
            char folder[700];
            snprintf(folder, sizeof folder, "%s/mex-%d-%d", made_root, i, what);
            mkdir(folder, 0777);
            made_text(made_below(folder, parts[0]), "%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 5\n");
            made_text(made_below(folder, parts[1]), "AAAC-1\n");
            made_text(made_below(folder, parts[2]), "E1\tA\tGene Expression\n");
            if (i == 0 && what == 0) CHECK(survives(DAMAGE_COUNTS, folder));
            unlink(made_below(folder, parts[i]));
            if (what == 0) mkdir(made_below(folder, parts[i]), 0777);
            else if (what == 1) mkfifo(made_below(folder, parts[i]), 0666);
            else made_text(made_below(folder, parts[i]), "");
            CHECK(refused(DAMAGE_COUNTS, folder, NULL));
        }
}

// ---- Files that lie about their size --------------------------------------------------------------------

static void put32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void test_pictures(void) {
    // A PNG of 2^31 - 1 squared, and one of 60,000 squared; there is a first chunk and no more.
    for (int i = 0; i < 2; i++) {
        uint8_t png[33] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        put32(png + 16, i ? 60000 : 0x7fffffff);
        put32(png + 20, i ? 60000 : 0x7fffffff);
        memcpy(png + 24, "\x08\x02\0\0\0", 5);
        put32(png + 29, (uint32_t)crc32(0, png + 12, 17));
        made_file(made_path("huge.png"), png, sizeof png);
        CHECK(refused(DAMAGE_PICTURE, made_path("huge.png"), NULL));
        CHECK(refused(DAMAGE_READERS + 3, made_path("huge.png"), NULL));
    }
    // A JPEG of 65,535 squared (4 billion pixels) with nothing behind its header.
    static const uint8_t jpeg[] = {0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8,    0xFF, 0xFF, 0xFF, 0xFF, 3,  1,
                                   0x11, 0,    2,    0x11, 0, 3,  0x11, 0,    0xFF, 0xDA, 0,    12, 3,
                                   1,    0,    2,    0,    3, 0,  0,    63,   0,    0xFF, 0xD9};
    made_file(made_path("huge.jpg"), jpeg, sizeof jpeg);
    CHECK(refused(DAMAGE_PICTURE, made_path("huge.jpg"), NULL));
    CHECK(refused(DAMAGE_READERS + 3, made_path("huge.jpg"), NULL));
    // TIFF: width, height, rows per strip or side of a tile; always one strip or tile of 100 bytes.
    static const uint32_t sizes[][3] = {
        {65536, 65536, 65536},  {65536, 65536, 1},    {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF},
        {1, 0xFFFFFFFF, 1},     {0xFFFFFFFF, 1, 16},  {65536, 65536, 0x80000000},
        {1 << 20, 1 << 20, 64}, {4294967, 1000, 1000}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint32_t tiled = 0; tiled < 2; tiled++)
            for (uint32_t compression = 1; compression < 9;
                 compression += compression == 1 ? 4 : 3) { // none, LZW, Deflate
                MadeTiff tiff = made_tiff_begin();
                uint8_t block[100] = {0x80, 0x3F, 0xE0};
                uint16_t eight[3] = {8, 8, 8};
                uint32_t at = (uint32_t)made_tiff_put(&tiff, block, sizeof block);
                uint32_t bits = (uint32_t)made_tiff_put(&tiff, eight, sizeof eight);
                MadeEntry strips[] = {{256, 4, 1, sizes[i][0]}, {257, 4, 1, sizes[i][1]}, {258, 3, 3, bits},
                                      {259, 3, 1, compression}, {262, 3, 1, 2},           {273, 4, 1, at},
                                      {277, 3, 1, 3},           {278, 4, 1, sizes[i][2]}, {279, 4, 1, 100}};
                MadeEntry tiles[] = {{256, 4, 1, sizes[i][0]}, {257, 4, 1, sizes[i][1]},
                                     {258, 3, 3, bits},        {259, 3, 1, compression},
                                     {262, 3, 1, 2},           {277, 3, 1, 3},
                                     {322, 4, 1, sizes[i][2]}, {323, 4, 1, sizes[i][2] & ~15u},
                                     {324, 4, 1, at},          {325, 4, 1, 100}};
                if (tiled) made_tiff_directory(&tiff, tiles, sizeof tiles / sizeof *tiles);
                else made_tiff_directory(&tiff, strips, sizeof strips / sizeof *strips);
                made_file(made_path("huge.tif"), tiff.data, tiff.size);
                free(tiff.data);
                CHECK(refused(DAMAGE_PICTURE, made_path("huge.tif"), NULL));
                CHECK(refused(DAMAGE_READERS + 3, made_path("huge.tif"), NULL));
            }
    // Directories in a circle.
    MadeTiff tiff = made_tiff_begin();
    MadeEntry one[] = {{256, 4, 1, 1}, {257, 4, 1, 1}, {258, 3, 1, 8}, {259, 3, 1, 1}, {262, 3, 1, 1},
                       {273, 4, 1, 8}, {277, 3, 1, 1}, {278, 4, 1, 1}, {279, 4, 1, 1}};
    uint32_t pixel = 0;
    made_tiff_put(&tiff, &pixel, 4);
    size_t first = made_tiff_directory(&tiff, one, 9);
    made_tiff_set(&tiff, tiff.link, (uint32_t)first);
    made_file(made_path("circle.tif"), tiff.data, tiff.size);
    free(tiff.data);
    CHECK(survives(DAMAGE_PICTURE, made_path("circle.tif")));
    CHECK(survives(DAMAGE_READERS + 3, made_path("circle.tif")));
}

static void test_texts(void) {
    static const char *const headers[] = {"1000000000 1000000000 9000000000000000000\n",
                                          "2147483647 2147483647 4611686018427387904\n", "99999999999999999999 1 1\n",
                                          "-1 -1 -1\n", "1 1 1000000\n"};
    mkdir(made_path("mex"), 0777);
    made_text(made_path("mex/barcodes.tsv"), "AAAC-1\n");
    made_text(made_path("mex/features.tsv"), "E1\tA\tGene Expression\n");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        char text[200];
        snprintf(text, sizeof text, "%%%%MatrixMarket matrix coordinate integer general\n%s1 1 5\n", headers[i]);
        made_text(made_path("mex/matrix.mtx"), text);
        CHECK(refused(DAMAGE_COUNTS, made_path("mex"), "matrix.mtx"));
    }
    // Nested a million deep; a number of a million digits; a key of 16 MB.
    size_t size = 1 << 20;
    char *text = malloc(size * 16 + 16);
    if (!text) exit(3);
    memset(text, '[', size);
    made_file(made_path("deep.json"), text, size);
    memset(text, '9', size);
    made_file(made_path("long.json"), text, size);
    text[0] = '{', text[1] = '"';
    memset(text + 2, 'k', size * 16);
    made_file(made_path("key.json"), text, size * 16);
    free(text);
    static const char *const files[] = {"deep.json", "long.json", "key.json"};
    for (int i = 0; i < 3; i++) {
        CHECK(refused(DAMAGE_SCALES, made_path(files[i]), NULL));
        CHECK(refused(DAMAGE_READERS + 5, made_path(files[i]), NULL));
        CHECK(survives(DAMAGE_READERS, made_path(files[i])));
    }
    // gzip bombs: 400 MB of one letter, 64 MB of line feeds, 200 MB of tabs and 400 MB of zeros in a few hundred KB.
    static const struct {
        char letter;
        const char *name;
    } bombs[] = {{'A', "letters.csv.gz"}, {'\n', "lines.csv.gz"}, {'\t', "tabs.tsv.gz"}, {0, "zeros.tsv.gz"}};
    char *block = malloc(1 << 20);
    if (!block) exit(3);
    for (int i = 0; i < 4; i++) {
        gzFile file = gzopen(made_path(bombs[i].name), "wb9");
        memset(block, bombs[i].letter, 1 << 20);
        for (int k = 0; k < (i == 1 ? 64 : i == 2 ? 200 : 400); k++) CHECK(gzwrite(file, block, 1 << 20) == 1 << 20);
        CHECK(gzclose(file) == Z_OK);
        static const DamageReader readers[] = {DAMAGE_COUNTS,    DAMAGE_POSITIONS, DAMAGE_HEST,
                                               DAMAGE_CELLTYPES, DAMAGE_TABLE,     DAMAGE_GENESETS};
        for (size_t r = 0; r < sizeof readers / sizeof *readers; r++) {
            bool whole =
                ((i == 1 || i == 2) && readers[r] == DAMAGE_TABLE) || (i == 2 && readers[r] == DAMAGE_GENESETS);
            CHECK(whole ? survives(readers[r], made_path(bombs[i].name))
                        : refused(readers[r], made_path(bombs[i].name), NULL));
        }
        CHECK(survives(DAMAGE_READERS, made_path(bombs[i].name)));
        unlink(made_path(bombs[i].name));
    }
    free(block);
}

// ---- Weights ---------------------------------------------------------------------------------------------

typedef struct Bytes {
    uint8_t *data;
    size_t size, room;
} Bytes;

static void put(Bytes *b, const void *data, size_t size) {
    if (b->size + size > b->room) {
        b->room = 2 * (b->size + size);
        b->data = realloc(b->data, b->room);
        if (!b->data) exit(3);
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_le(Bytes *b, uint64_t value, int bytes) {
    uint8_t raw[8];
    for (int i = 0; i < bytes; i++) raw[i] = (uint8_t)(value >> (8 * i));
    put(b, raw, (size_t)bytes);
}

static void keep(Bytes *b, const char *path) {
    made_file(path, b->data, b->size);
    free(b->data);
    *b = (Bytes){0};
}

// A zip archive of one entry, deflated or stored, whose directory may claim another size.
static void made_zip(const char *path, const char *name, const void *content, size_t size, bool deflated,
                     uint64_t claimed) {
    Bytes b = {0}, packed = {0};
    uint32_t crc = (uint32_t)crc32_z(0, content, size);
    if (deflated) {
        z_stream z = {0};
        uint8_t *out = malloc(compressBound(size) + 64);
        if (!out || deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) != Z_OK) exit(3);
        z.next_in = (Bytef *)content, z.avail_in = (uInt)size, z.next_out = out,
        z.avail_out = (uInt)compressBound(size) + 64;
        CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
        put(&packed, out, z.total_out);
        deflateEnd(&z);
        free(out);
    } else {
        put(&packed, content, size);
    }
    for (int directory = 0; directory < 2; directory++) {
        size_t at = b.size;
        if (!directory) put(&b, "PK\3\4\x14\0\0\0", 8);
        else put(&b, "PK\1\2\x14\0\x14\0\0\0", 10);
        put_le(&b, deflated ? 8 : 0, 2);
        put_le(&b, 0, 4);
        put_le(&b, crc, 4);
        put_le(&b, packed.size, 4);
        put_le(&b, claimed, 4);
        put_le(&b, strlen(name), 2);
        put_le(&b, 0, 2);
        if (directory) put(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 14);
        put(&b, name, strlen(name));
        if (!directory) put(&b, packed.data, packed.size);
        else {
            size_t end = b.size;
            put(&b, "PK\5\6\0\0\0\0\1\0\1\0", 12);
            put_le(&b, end - at, 4);
            put_le(&b, at, 4);
            put_le(&b, 0, 2);
        }
    }
    free(packed.data);
    keep(&b, path);
}

static void test_weights(void) {
    const char *path = made_path("w");
    Bytes b = {0};
    // safetensors: a header of 2^63 bytes; shapes whose product is beyond everything; offsets beyond the file
    static const char *const headers[] = {
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,4],\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1099511627776],\"data_offsets\":[0,1099511627776]}}"};
    for (int i = -1; i < 3; i++) {
        put_le(&b, i < 0 ? (uint64_t)1 << 63 : strlen(headers[i]), 8);
        put(&b, i < 0 ? "{}" : headers[i], i < 0 ? 2 : strlen(headers[i]));
        keep(&b, path);
        CHECK(refused(DAMAGE_READERS + 2, path, NULL));
        CHECK(refused(DAMAGE_WEIGHTS, path, NULL));
    }
    // NPY: shapes beyond the file
    static const char *const shapes[] = {"(4611686018427387904,)", "(4294967296, 4294967296)", "(1099511627776,)",
                                         "(-1,)", "(99999999999999999999999,)"};
    for (int i = 0; i < 5; i++) {
        char header[128];
        int length =
            snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n", shapes[i]);
        put(&b, "\x93NUMPY\1\0", 8);
        put_le(&b, (uint64_t)length, 2);
        put(&b, header, (size_t)length);
        put(&b, "1234", 4);
        keep(&b, path);
        CHECK(refused(DAMAGE_WEIGHTS, path, NULL));
        CHECK(refused(DAMAGE_READERS + 1, path, NULL));
    }
    // Zip bombs: 256 MB of zeros as an array and as a pickle; a directory that claims 4 GB of 100 bytes.
    size_t size = (size_t)256 << 20;
    uint8_t *zeros = calloc(1, size);
    if (!zeros) exit(3);
    made_zip(made_path("bomb.npz"), "a.npy", zeros, size, true, size);
    CHECK(refused(DAMAGE_WEIGHTS, made_path("bomb.npz"), NULL));
    made_zip(made_path("bomb.pt"), "m/data.pkl", zeros, size, true, size);
    CHECK(refused(DAMAGE_WEIGHTS, made_path("bomb.pt"), NULL));
    made_zip(made_path("claim.npz"), "a.npy", zeros, 100, true, 0xFFFFFFF0);
    CHECK(refused(DAMAGE_WEIGHTS, made_path("claim.npz"), NULL));
    made_zip(made_path("less.npz"), "a.npy", zeros, 1 << 20, true, 100);
    CHECK(refused(DAMAGE_WEIGHTS, made_path("less.npz"), NULL));
    made_zip(made_path("claim2.npz"), "a.npy", zeros, 100, false, 0xFFFFFFF0);
    CHECK(refused(DAMAGE_WEIGHTS, made_path("claim2.npz"), NULL));
    // A .npy.gz is none of the formats, bomb or not.
    gzFile file = gzopen(made_path("bomb.npy.gz"), "wb9");
    CHECK(gzwrite(file, zeros, (unsigned)size) == (int)size && gzclose(file) == Z_OK);
    CHECK(refused(DAMAGE_WEIGHTS, made_path("bomb.npy.gz"), NULL));
    free(zeros);
}

// A pickle that would run a command, in each way there is; all of them as a file, in a torch archive and in an array.
static void test_pickles(void) {
    static const struct {
        const char *code;
        size_t size;
        const char *says;
    } evil[] = {
#define EVIL(text, says) {text, sizeof text - 1, says}
        EVIL("\x80\2cos\nsystem\n(X\4\0\0\0truetR.", "system"),
        EVIL("\x80\2cposix\nsystem\n(X\4\0\0\0truetR.", "posix"),
        EVIL("cos\nsystem\n(S'true'\ntR.", "system"),
        EVIL("\x80\4\x8c\2os\x8c\6system\x93\x8c\4true\x85R.", "system"),
        EVIL("\x80\4\x95\x18\0\0\0\0\0\0\0\x8c\2os\x8c\6system\x93\x94\x8c\4true\x94\x85R.", "system"),
        EVIL("(S'true'\nios\nsystem\n.", "system"),
        EVIL("\x80\2(cos\nsystem\nX\4\0\0\0trueo.", "system"),
        EVIL("\x80\2cos\nsystem\nX\4\0\0\0true\x85\x81.", "system"),
        EVIL("\x80\4cos\nsystem\nX\4\0\0\0true\x85}\x92.", "system"),
        EVIL("\x80\2c__builtin__\neval\nX\1\0\0\0"
             "1\x85R.",
             "eval"),
        EVIL("\x80\2cbuiltins\nexec\nX\1\0\0\0"
             "1\x85R.",
             "exec"),
        EVIL("\x80\2cbuiltins\ngetattr\ncos\npath\nX\1\0\0\0"
             "1\x86R.",
             "getattr"),
        EVIL("\x80\2csubprocess\nPopen\nX\4\0\0\0true\x85R.", "Popen"),
        EVIL("\x80\2cnumpy\ncore.multiarray\n.", "numpy"),
        EVIL("\x80\2crunpy\n_run_code\n.", "runpy"),
        EVIL("\x80\2\x82\1.", NULL), // a registered extension
        EVIL("\x80\2X\1\0\0\0"
             "1Q.",
             NULL), // a persistent id without storage
        EVIL("\x80\2ccollections\nOrderedDict\n)R}X\1\0\0\0xcos\nsystem\nsb.", "system"),
        EVIL("\x80\5\x97.", NULL), // a buffer from elsewhere
#undef EVIL
    };
    for (size_t i = 0; i < sizeof evil / sizeof *evil; i++) {
        made_file(made_path("evil.pkl"), evil[i].code, evil[i].size);
        if (!CHECK(refused(DAMAGE_WEIGHTS, made_path("evil.pkl"), evil[i].code[0] == (char)0x80 ? evil[i].says : NULL)))
            printf("    that was number %zu\n", i);
        made_zip(made_path("evil.pt"), "m/data.pkl", evil[i].code, evil[i].size, false, evil[i].size);
        CHECK(refused(DAMAGE_WEIGHTS, made_path("evil.pt"), evil[i].says));
        Bytes b = {0};
        static const char header[] = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n";
        put(&b, "\x93NUMPY\1\0", 8);
        put_le(&b, sizeof header - 1, 2);
        put(&b, header, sizeof header - 1);
        put(&b, evil[i].code, evil[i].size);
        keep(&b, made_path("evil.npy"));
        CHECK(refused(DAMAGE_WEIGHTS, made_path("evil.npy"), "objects"));
    }
    // Lists in lists, each twice in the next (2^60 ways); nested a million deep; sizes beyond the file; a huge memo.
    Bytes b = {0};
    put(&b, "\x80\2]q\0", 5);
    for (int i = 1; i < 60; i++) {
        uint8_t step[] = {'(', 'h', (uint8_t)(i - 1), 'h', (uint8_t)(i - 1), 'l', 'q', (uint8_t)i};
        put(&b, step, sizeof step);
    }
    put(&b, ".", 1);
    keep(&b, made_path("laughs.pkl"));
    CHECK(refused(DAMAGE_WEIGHTS, made_path("laughs.pkl"), NULL));
    put(&b, "\x80\2", 2);
    for (int i = 0; i < 1 << 20; i++) put(&b, "]", 1);
    for (int i = 1; i < 1 << 20; i++) put(&b, "a", 1);
    put(&b, ".", 1);
    keep(&b, made_path("deep.pkl"));
    CHECK(refused(DAMAGE_WEIGHTS, made_path("deep.pkl"), NULL));
    static const struct {
        const char *code;
        size_t size;
    } large[] = {{"\x80\4\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"
                  "1.",
                  13},
                 {"\x80\4\x8d\0\0\0\0\0\0\1\0"
                  "1.",
                  13},
                 {"\x80\2X\xff\xff\xff\x7f"
                  "1.",
                  9},
                 {"\x80\2]r\xff\xff\xff\xff.", 9},
                 {"\x80\2\x8b\xff\xff\xff\x7f"
                  "1.",
                  9},
                 {"\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\x7f].", 13}};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        made_file(made_path("large.pkl"), large[i].code, large[i].size);
        CHECK(refused(DAMAGE_WEIGHTS, made_path("large.pkl"), NULL));
    }
}

// ---- HDF5 ---------------------------------------------------------------------------------------------------

typedef struct H5Case {
    hid_t file, matrix, features;
} H5Case;

static hid_t dataset(hid_t parent, const char *name, hid_t type, int rank, const hsize_t *dims, const void *data) {
    hid_t space = rank ? H5Screate_simple(rank, dims, NULL) : H5Screate(H5S_SCALAR),
          create = H5Pcreate(H5P_DATASET_CREATE);
    if (!data && rank) {
        hsize_t chunk[4];
        for (int i = 0; i < rank; i++) chunk[i] = dims[i] < 64 ? dims[i] : 64;
        H5Pset_chunk(create, rank, chunk);
        H5Pset_deflate(create, 4);
    }
    hid_t made = H5Dcreate2(parent, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    CHECK(made > 0);
    if (data) CHECK(H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Pclose(create);
    H5Sclose(space);
    return made;
}

static void numbers(hid_t parent, const char *name, hsize_t count, const int *values) {
    H5Dclose(dataset(parent, name, H5T_NATIVE_INT, 1, &count, values));
}

static void words(hid_t parent, const char *name, hsize_t count, const char *values) { // of 4 bytes each
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 4);
    H5Dclose(dataset(parent, name, type, 1, &count, values));
    H5Tclose(type);
}

// A sound 10x file of two features and two barcodes, open.
static H5Case tenx_begin(const char *path) {
    H5Case c = {.file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)};
    static const int indptr[] = {0, 1, 2}, indices[] = {0, 1}, data[] = {5, 7}, shape[] = {2, 2};
    c.matrix = H5Gcreate2(c.file, "matrix", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    c.features = H5Gcreate2(c.matrix, "features", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    numbers(c.matrix, "indptr", 3, indptr);
    numbers(c.matrix, "indices", 2, indices);
    numbers(c.matrix, "data", 2, data);
    numbers(c.matrix, "shape", 2, shape);
    words(c.matrix, "barcodes", 2, "AAA\0AAC");
    words(c.features, "name", 2, "A\0\0\0B\0\0");
    words(c.features, "id", 2, "E1\0\0E2\0");
    words(c.features, "genome", 2, "hg\0\0hg\0");
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 16);
    hsize_t two = 2;
    H5Dclose(dataset(c.features, "feature_type", type, 1, &two, "Gene Expression\0Gene Expression"));
    H5Tclose(type);
    return c;
}

static void tenx_end(H5Case *c) {
    H5Gclose(c->features);
    H5Gclose(c->matrix);
    CHECK(H5Fclose(c->file) >= 0);
}

// Every object in turn replaced by one of 2^63 - 1 elements and others that no file can hold.
static void test_absurd(const char *path) {
    static const char *const objects[] = {
        "matrix/indptr",   "matrix/indices",       "matrix/data",        "matrix/shape",
        "matrix/barcodes", "matrix/features/name", "matrix/features/id", "matrix/features/feature_type"};
    static const hsize_t sizes[] = {((hsize_t)1 << 63) - 1, (hsize_t)1 << 40, 3000000000};
    for (size_t o = 0; o < sizeof objects / sizeof *objects; o++)
        for (int s = 0; s < 3; s++) {
            H5Case c = tenx_begin(path);
            hid_t old = H5Dopen2(c.file, objects[o], H5P_DEFAULT), type = H5Dget_type(old);
            H5Dclose(old);
            CHECK(H5Ldelete(c.file, objects[o], H5P_DEFAULT) >= 0);
            if (s == 0) { // elements of one byte: HDF5 itself counts no further
                hid_t small = H5Tcopy(H5Tget_class(type) == H5T_STRING ? H5T_C_S1 : H5T_STD_U8LE);
                H5Tclose(type);
                type = small;
            }
            hid_t made = dataset(c.file, objects[o], type, 1, &sizes[s], NULL);
            H5Dclose(made);
            H5Tclose(type);
            tenx_end(&c);
            CHECK(refused(DAMAGE_COUNTS, path, NULL));
        }
    // A dense matrix of 2^31 x 2^31 in a file of AnnData, and patches of 2^62 bytes.
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hsize_t square[4] = {(hsize_t)1 << 31, (hsize_t)1 << 31, 1, 1}, patches[4] = {1 << 20, 1 << 20, 1 << 20, 3};
    static const char *const frames[] = {"obs", "var"};
    for (int i = 0; i < 2; i++) {
        hid_t group = H5Gcreate2(file, frames[i], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        words(group, "_index", 2, "AAA\0AAC");
        H5Gclose(group);
    }
    H5Dclose(dataset(file, "X", H5T_NATIVE_FLOAT, 2, square, NULL));
    H5Fclose(file);
    CHECK(refused(DAMAGE_COUNTS, path, NULL));
    file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Dclose(dataset(file, "img", H5T_NATIVE_UCHAR, 4, patches, NULL));
    hsize_t places[2] = {1 << 20, 2};
    H5Dclose(dataset(file, "coords", H5T_NATIVE_INT, 2, places, NULL));
    hsize_t count = 1 << 20;
    H5Dclose(dataset(file, "barcode", H5T_C_S1, 1, &count, NULL));
    H5Fclose(file);
    CHECK(refused(DAMAGE_PATCHES, path, NULL));
}

// Chunks whose deflated bytes become far more than the chunk holds.
static void test_chunk_bomb(const char *path) {
    size_t bytes = (size_t)1 << 30;
    z_stream z = {0};
    uLong room = 2 << 20;
    uint8_t *packed = malloc(room), *zeros = calloc(1, 1 << 20);
    if (!packed || !zeros || deflateInit(&z, 9) != Z_OK) exit(3);
    z.next_out = packed, z.avail_out = (uInt)room;
    for (size_t done = 0; done <= bytes; done += 1 << 20) {
        z.next_in = zeros, z.avail_in = done == bytes ? 0 : 1 << 20;
        deflate(&z, done == bytes ? Z_FINISH : Z_NO_FLUSH);
    }
    CHECK(z.total_in == bytes);
    static const char *const objects[] = {"matrix/data", "matrix/indptr", "matrix/barcodes"};
    for (int o = 0; o < 3; o++) {
        H5Case c = tenx_begin(path);
        hid_t old = H5Dopen2(c.file, objects[o], H5P_DEFAULT), type = H5Dget_type(old);
        hsize_t count = o == 1 ? 3 : 2, zero = 0;
        H5Dclose(old);
        CHECK(H5Ldelete(c.file, objects[o], H5P_DEFAULT) >= 0);
        hsize_t most = H5S_UNLIMITED, chunk = 1 << 16; // a small chunk could not say how long it is
        hid_t space = H5Screate_simple(1, &count, &most), create = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_chunk(create, 1, &chunk);
        H5Pset_deflate(create, 4);
        hid_t made = H5Dcreate2(c.file, objects[o], type, space, H5P_DEFAULT, create, H5P_DEFAULT);
        H5Pclose(create);
        H5Sclose(space);
        CHECK(H5Dwrite_chunk(made, H5P_DEFAULT, 0, &zero, z.total_out, packed) >= 0);
        H5Dclose(made);
        H5Tclose(type);
        tenx_end(&c);
        CHECK(o == 2 ? survives(DAMAGE_COUNTS, path) : refused(DAMAGE_COUNTS, path, NULL));
    }
    deflateEnd(&z);
    free(zeros);
    free(packed);
}

static void test_links(const char *path) {
    // What a link must not lead to: a file with two fine numbers.
    const char *other = made_path("other.h5");
    hid_t file = H5Fcreate(other, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    static const int data[] = {5, 7};
    numbers(file, "data", 2, data);
    H5Fclose(file);
    for (int kind = 0; kind < 9; kind++) {
        H5Case c = tenx_begin(path);
        hsize_t two = 2;
        hid_t create = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &two, NULL);
        H5Ldelete(c.matrix, kind == 6 ? "features" : "data", H5P_DEFAULT);
        switch (kind) {
        case 0: H5Lcreate_external(other, "data", c.matrix, "data", H5P_DEFAULT, H5P_DEFAULT); break;
        case 1: H5Lcreate_soft("/matrix/data", c.matrix, "data", H5P_DEFAULT, H5P_DEFAULT); break; // itself
        case 2: // two that lead to each other
            H5Lcreate_soft("/matrix/b", c.matrix, "data", H5P_DEFAULT, H5P_DEFAULT);
            H5Lcreate_soft("/matrix/data", c.matrix, "b", H5P_DEFAULT, H5P_DEFAULT);
            break;
        case 3: // a soft link on a way that leaves the file
            H5Lcreate_external(other, "/", c.file, "out", H5P_DEFAULT, H5P_DEFAULT);
            H5Lcreate_soft("/out/data", c.matrix, "data", H5P_DEFAULT, H5P_DEFAULT);
            break;
        case 4:
            H5Pset_external(create, other, 0, 8);
            H5Dclose(H5Dcreate2(c.matrix, "data", H5T_NATIVE_INT, space, H5P_DEFAULT, create, H5P_DEFAULT));
            break;
        case 5:
            H5Pset_virtual(create, space, other, "data", space);
            H5Dclose(H5Dcreate2(c.matrix, "data", H5T_NATIVE_INT, space, H5P_DEFAULT, create, H5P_DEFAULT));
            break;
        case 6:
            H5Lcreate_hard(c.file, "/", c.matrix, "features", H5P_DEFAULT, H5P_DEFAULT);
            break; // the root below itself
        case 7: H5Lcreate_hard(c.file, "/matrix", c.matrix, "data", H5P_DEFAULT, H5P_DEFAULT); break;
        default: H5Lcreate_external("/etc/passwd", "/", c.matrix, "data", H5P_DEFAULT, H5P_DEFAULT); break;
        }
        H5Pclose(create);
        H5Sclose(space);
        tenx_end(&c);
        if (!CHECK(refused(DAMAGE_COUNTS, path, NULL))) printf("    that was link %d\n", kind);
    }
    // The whole tree of an AnnData file in a circle, and made ones.
    file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    static const char *const parts[] = {"obs", "var", "X", "layers", "obsm", "uns", "raw"};
    for (int i = 0; i < 7; i++) H5Lcreate_hard(file, "/", file, parts[i], H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    CHECK(refused(DAMAGE_COUNTS, path, NULL));
    CHECK(refused(DAMAGE_STORE, path, NULL));
    static const char *const made[] = {"absurd.h5ad", "cycle.h5ad", "external.h5ad"};
    for (int i = 0; i < 3; i++) {
        char name[256];
        snprintf(name, sizeof name, "tests/data/reference/counts_made/%s", made[i]);
        CHECK(refused(DAMAGE_COUNTS, name, NULL));
    }
}

// ---- The wrong kind of file -----------------------------------------------------------------------------------

static void test_wrong_kinds(const char *data) {
    static const char *const samples[] = {"h5ad/pbmc80_csr.h5ad",
                                          "visium/heart_100x100/filtered_feature_bc_matrix.h5",
                                          "visium/prostate_tiny/filtered_feature_bc_matrix/matrix.mtx",
                                          "visium/prostate_tiny/spatial/tissue_positions.csv",
                                          "visium/colon_hd_16um/spatial/tissue_positions.parquet",
                                          "visium/crc16/spatial/scalefactors_json.json",
                                          "visium/prostate_tiny/spatial/tissue_lowres_image.png",
                                          "visium/prostate_tiny/spatial/aligned_fiducials.jpg",
                                          "tiff/crc_patch_packbits.tif",
                                          "her2st/counts/C2.tsv.gz",
                                          "her2st/proportions/C2_major.tsv",
                                          "msigdb/h.all.v7.0.symbols.gmt"};
    static const char *const own[] = {"tests/data/reference/weights/types.safetensors",
                                      "tests/data/reference/weights/tile.pt",
                                      "tests/data/reference/weights/v1.npy",
                                      "tests/data/reference/weights/stored.npz",
                                      "tests/data/reference/counts_made/hest/patches/SPA1.h5",
                                      "tests/data/reference/counts_made/hest/HEST_v1_3_0.csv"};
    // Text readers may find sense in each other's files; who reads bytes must not.
    static const DamageReader binary[] = {DAMAGE_PICTURE, DAMAGE_WEIGHTS, DAMAGE_STORE, DAMAGE_PATCHES};
    size_t n = sizeof samples / sizeof *samples, all = n + sizeof own / sizeof *own;
    for (size_t i = 0; i < all; i++) {
        char path[1024];
        if (i < n) snprintf(path, sizeof path, "%s/%s", data, samples[i]);
        else snprintf(path, sizeof path, "%s", own[i - n]);
        if (!file_exists(path)) continue;
        for (int door = 1; door < ALL_DOORS; door++)
            if (door != DAMAGE_MEX) CHECK(survives(door, path));
        for (size_t r = 0; r < sizeof binary / sizeof *binary; r++)
            if (damage_reader_of(path) != binary[r]) CHECK(refused((int)binary[r], path, NULL));
    }
}

int main(int count, char **arguments) {
    const char *data = count > 1 ? arguments[1] : "../shared/data";
    made_begin();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    test_no_file();
    test_pictures();
    test_texts();
    test_weights();
    test_pickles();
    test_absurd(made_path("absurd.h5"));
    test_chunk_bomb(made_path("bomb.h5"));
    test_links(made_path("links.h5"));
    test_wrong_kinds(data);
    printf("%d readings, the slowest %.2f s, the largest %d MB\n", cases, slowest, most_megabytes);
    made_end();
    return check_report("damage_made");
}
