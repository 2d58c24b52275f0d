// Status values, arenas, texts, numbers, JSON, and files that are never half written.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "../../runtime/core/arena.h"
#include "../../runtime/core/json.h"
#include "../../runtime/core/strings.h"
#include "../../runtime/data/sha256.h"
#include "made.h"

static Status inner(int fail) {
    return fail ? status_make(STATUS_MALFORMED, "line %d is empty", 7) : STATUS_OK;
}

static Status outer(int fail) {
    TRY_IN(inner(fail), "section %s", "C5");
    return STATUS_OK;
}

static void test_status(void) {
    CHECK_OK(outer(0));
    CHECK_FAILS(outer(1), STATUS_MALFORMED, "section C5: line 7 is empty");
    CHECK_FAILS(status_errno(ENOSPC, "cannot write %s", "a.h5"), STATUS_IO,
                "cannot write a.h5: No space left on device");
    CHECK_FAILS(status_errno(ENOENT, "cannot open x"), STATUS_NOT_FOUND, "No such file");
    Status joined = status_join(inner(1), status_make(STATUS_IO, "closing failed"));
    CHECK_FAILS(joined, STATUS_MALFORMED, "line 7 is empty; also: closing failed");
    CHECK_OK(status_join(STATUS_OK, STATUS_OK));
    CHECK_FAILS(status_join(STATUS_OK, inner(1)), STATUS_MALFORMED, "line 7");
    CHECK_OK(status_context(STATUS_OK, "nothing"));
    CHECK_TEXT(status_message(STATUS_OK), "");
}

static void test_arena(void) {
    Arena arena;
    arena_init(&arena);
    unsigned char *last = NULL;
    for (size_t i = 0; i < 5000; i++) {
        unsigned char *p = arena_alloc(&arena, i % 300, 1);
        CHECK(p != NULL && p != last && (uintptr_t)p % 16 == 0);
        for (size_t k = 0; k < i % 300; k++) {
            if (p[k] != 0) CHECK(!"zeroed");
            p[k] = 0xAA;
        }
        last = p;
    }
    double *large = arena_alloc(&arena, 1 << 20, sizeof *large);
    CHECK(large != NULL && large[(1 << 20) - 1] == 0);
    CHECK(arena_alloc(&arena, SIZE_MAX / 2, 16) == NULL);
    int *ints = NULL;
    CHECK_FAILS(ARENA_NEW(&arena, ints, SIZE_MAX / 2), STATUS_NO_MEMORY, "no memory for");
    CHECK_TEXT(arena_printf(&arena, "%dx%d", 3, 4), "3x4");
    arena_free(&arena);
    CHECK(arena.used == 0 && arena.reserved == 0);
}

static void check_f32(float value, const char *expected) {
    char buffer[NUMBER_TEXT];
    CHECK(number_f32(value, buffer) == strlen(expected));
    CHECK_TEXT(buffer, expected);
}

static void test_numbers(void) {
    check_f32(0.1f, "0.1");
    check_f32(1.0f, "1");
    check_f32(-7.5f, "-7.5");
    check_f32(1e-11f, "1e-11");
    check_f32(16777217.0f, "16777216");
    check_f32(NAN, "nan");
    check_f32(-INFINITY, "-inf");
    uint32_t bits = 12345;
    for (int i = 0; i < 20000; i++) { // every float survives the round trip
        bits = bits * 1664525u + 1013904223u;
        float value, back;
        memcpy(&value, &bits, 4);
        if (!isfinite(value)) continue;
        char buffer[NUMBER_TEXT];
        number_f32(value, buffer);
        back = strtof(buffer, NULL);
        if (memcmp(&back, &value, 4) != 0) CHECK(!"round trip");
    }
    double d = 0;
    int64_t n = 0;
    CHECK(parse_f64("4.48e-10", 8, &d) && d == 4.48e-10);
    CHECK(parse_f64("NaN", 3, &d) && isnan(d));
    CHECK(parse_f64("-inf", 4, &d) && d < 0);
    CHECK(!parse_f64("", 0, &d) && !parse_f64("1 ", 2, &d) && !parse_f64("0x10", 4, &d) && !parse_f64("1e999", 5, &d));
    CHECK(!parse_f64("1.5kg", 5, &d) && !parse_f64("--1", 3, &d));
    CHECK(parse_i64("-9223372036854775808", 20, &n) && n == INT64_MIN);
    CHECK(parse_i64("9223372036854775807", 19, &n) && n == INT64_MAX);
    CHECK(!parse_i64("9223372036854775808", 19, &n) && !parse_i64("1.0", 3, &n) && !parse_i64("-", 1, &n));
    const char *names[] = {"major", "minor", "subset"};
    CHECK_TEXT(closest_name("mayor", names, 3), "major");
    CHECK(closest_name("zebra", names, 3) == NULL);
    CHECK(valid_utf8("\xC2\xB5m", 3) && !valid_utf8("\xC2", 1) && !valid_utf8("\xC0\x80", 2) &&
          !valid_utf8("\xED\xA0\x80", 3));
}

static void test_json(void) {
    JsonWriter w = json_writer(0);
    json_begin_object(&w);
    json_key(&w, "a\"b\n");
    json_begin_array(&w);
    json_integer(&w, -3);
    json_number(&w, 0.1);
    json_number(&w, NAN);
    json_bool(&w, true);
    json_string(&w, "\xC2\xB5\x01");
    json_end_array(&w);
    json_key(&w, "empty");
    json_begin_object(&w);
    json_end_object(&w);
    json_end_object(&w);
    CHECK_TEXT(text_string(&w.text), "{\"a\\\"b\\n\": [-3, 0.1, null, true, \"\xC2\xB5\\u0001\"], \"empty\": {}}");
    Arena arena;
    arena_init(&arena);
    JsonValue *v = NULL;
    CHECK_OK(json_parse("w.json", text_string(&w.text), w.text.length, &arena, &v));
    const JsonValue *list = json_get(v, "a\"b\n");
    CHECK(list && list->length == 5 && list->items[0].integer == -3 && list->items[1].number == 0.1);
    CHECK(list && list->items[2].type == JSON_NULL && list->items[3].boolean && !list->items[1].is_integer);
    json_writer_free(&w);
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "1:1: the text ends"},
        {"{\"a\": 1,\n \"a\": 2}", "2:2: this member name occurs twice"},
        {"[1, 2", "1:1: this '[' is never closed"},
        {"[1 2]", "',' or ']' is expected"},
        {"[01]", "must not start with 0"},
        {"[1.]", "digits must follow"},
        {"\"abc", "no closing quote"},
        {"\"\\ud800\"", "surrogate"},
        {"\"\\x\"", "unknown escape"},
        {"{\"a\" 1}", "':' is expected"},
        {"nul", "a value is expected"},
        {"1 1", "more text after"},
        {"[1,]", "a value is expected"},
        {"\"\xff\"", "not UTF-8"},
        {"1e999", "too large"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAILS(json_parse("x.json", bad[i].text, strlen(bad[i].text), &arena, &v), STATUS_MALFORMED,
                    bad[i].message);
    char deep[200];
    memset(deep, '[', sizeof deep);
    CHECK_FAILS(json_parse("x.json", deep, sizeof deep, &arena, &v), STATUS_MALFORMED, "nested deeper");
    CHECK_OK(json_parse("x.json", "\"\\u00b5\\ud83d\\ude00\\/\"", 22, &arena, &v));
    CHECK_TEXT(v ? v->string : NULL, "\xC2\xB5\xF0\x9F\x98\x80/");
    arena_free(&arena);
}

static size_t files_in(const char *path) {
    DIR *directory = opendir(path);
    size_t count = 0;
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    return count - 2;
}

static void test_files(void) {
    const char *folder = made_path("files/deep");
    CHECK_OK(make_directories(folder));
    CHECK_OK(make_directories(folder));
    char path[2048], link[2048];
    strcpy(path, made_below(folder, "a.txt"));
    strcpy(link, made_below(folder, "link"));
    CHECK_OK(file_write_atomic(path, "one", 3));
    char *data = NULL;
    size_t size = 0;
    CHECK_OK(file_read(path, 100, &data, &size));
    CHECK_TEXT(data, "one");
    free(data);
    CHECK_FAILS(file_read(path, 2, &data, &size), STATUS_INVALID, "larger than the 2 bytes");
    CHECK_FAILS(file_read(folder, 100, &data, &size), STATUS_INVALID, "is a directory");
    CHECK_FAILS(file_read(made_path("none"), 100, &data, &size), STATUS_NOT_FOUND, "none: No such file");
    // A failed or abandoned write leaves the old file and no litter.
    AtomicFile file;
    CHECK_OK(atomic_open(&file, path));
    CHECK_OK(atomic_write(&file, "two", 3));
    CHECK(files_in(folder) == 2);
    atomic_abort(&file);
    atomic_abort(&file);
    CHECK(files_in(folder) == 1);
    // Through a symbolic link, which stays one.
    CHECK(symlink("a.txt", link) == 0);
    CHECK_OK(file_write_atomic(link, "three", 5));
    struct stat info;
    CHECK(lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
    CHECK_OK(file_read(path, 100, &data, &size));
    CHECK_TEXT(data, "three");
    free(data);
    CHECK_FAILS(file_write_atomic(folder, "x", 1), STATUS_INVALID, "it is a directory");
    CHECK_FAILS(file_write_atomic(made_path("no/such/place"), "x", 1), STATUS_IO, "there is no directory");
    // A full device: written straight, never replaced.
    char block[70000] = {0};
    CHECK_FAILS(file_write_atomic("/dev/full", block, sizeof block), STATUS_IO, "/dev/full: No space left on device");
    CHECK_FAILS(file_write_atomic("/dev/full", "x", 1), STATUS_IO, "No space left on device");
    CHECK(stat("/dev/full", &info) == 0 && S_ISCHR(info.st_mode));
    CHECK_OK(atomic_open(&file, "/dev/null"));
    CHECK_OK(atomic_commit(&file));
    CHECK(stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode));
    CHECK_FAILS(atomic_reserve(&file, "/dev/null"), STATUS_INVALID, "device or a pipe");
    // A file size limit cuts the write short in the middle.
    struct rlimit old, small = {.rlim_cur = 30000, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small.rlim_max = old.rlim_max;
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    Status status = file_write_atomic(path, block, sizeof block);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK_FAILS(status, STATUS_IO, "a.txt: File too large");
    CHECK(files_in(folder) == 2);
    CHECK_OK(file_read(path, 100, &data, &size));
    CHECK_TEXT(data, "three");
    free(data);
    Arena arena;
    arena_init(&arena);
    char **names = NULL;
    CHECK_OK(directory_list(folder, &arena, &names, &size));
    CHECK(size == 2 && strcmp(names[0], "a.txt") == 0 && strcmp(names[1], "link") == 0);
    arena_free(&arena);
    char hash[65];
    uint64_t bytes = 0;
    made_text(path, "abc");
    CHECK_OK(sha256_file(path, hash, &bytes));
    CHECK_TEXT(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(bytes == 3);
}

int main(void) {
    made_begin();
    test_status();
    test_arena();
    test_numbers();
    test_json();
    test_files();
    made_end();
    return check_report("core");
}
