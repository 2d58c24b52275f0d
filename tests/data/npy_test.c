// npy_test: NPY and NPZ written and read back, what cannot be written, headers made by hand, and damage. What NumPy
// itself wrote is read in weights_test.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE // memmem
#endif
#include "made.h"

#include "../../runtime/data/weights.h"

static void test_numbers(void) {
    static const struct {
        ElementType type;
        const char *descr;
    } types[] = {
        {ELEMENT_BOOL, "'|b1'"}, {ELEMENT_U8, "'|u1'"},  {ELEMENT_I8, "'|i1'"},  {ELEMENT_I16, "'<i2'"},
        {ELEMENT_U16, "'<u2'"},  {ELEMENT_F16, "'<f2'"}, {ELEMENT_I32, "'<i4'"}, {ELEMENT_U32, "'<u4'"},
        {ELEMENT_F32, "'<f4'"},  {ELEMENT_F64, "'<f8'"}, {ELEMENT_I64, "'<i8'"}, {ELEMENT_U64, "'<u8'"},
    };
    unsigned char data[6 * 8], back[6 * 8];
    for (int i = 0; i < (int)sizeof data; i++) data[i] = (unsigned char)(i % 8 == 7 ? 0 : i % 2);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        NpyArray array = {.type = types[t].type, .rank = 2, .shape = {2, 3}, .data = data};
        const char *path = made_path("numbers.npy");
        NpyFile file;
        CHECK_OK(npy_write(path, &array));
        if (!CHECK_OK(npy_open(path, &file))) continue;
        CHECK(file.view.type == types[t].type && file.view.rank == 2 && file.view.shape[0] == 2 &&
              file.view.shape[1] == 3);
        CHECK(memmem(file.map.data, file.map.size, types[t].descr, 5) != NULL);
        CHECK((file.storage.data - file.map.data) % 64 == 0);
        CHECK_OK(npy_read(&file, types[t].type, back));
        CHECK(memcmp(data, back, 6 * element_size(types[t].type)) == 0);
        npy_close(&file);
        npy_close(&file);
    }
}

static void test_shapes(void) {
    float values[24], back[24];
    for (int i = 0; i < 24; i++) values[i] = (float)i;
    for (int rank = 0; rank <= 16; rank++) {
        NpyArray array = {.type = ELEMENT_F32, .rank = rank, .data = values};
        for (int d = 0; d < rank; d++) array.shape[d] = d == 1 ? 3 : d == 2 ? 8 : 1;
        NpyFile file;
        CHECK_OK(npy_write(made_path("shape.npy"), &array));
        if (!CHECK_OK(npy_open(made_path("shape.npy"), &file))) continue;
        int64_t expected = rank < 2 ? 1 : rank == 2 ? 3 : 24;
        CHECK(file.view.rank == rank && file.view.elements == expected);
        CHECK_OK(npy_read(&file, ELEMENT_F32, back));
        CHECK(memcmp(values, back, (size_t)expected * 4) == 0);
        npy_close(&file);
    }
    NpyArray wrong = {.type = ELEMENT_BF16, .rank = 1, .shape = {1}, .data = values};
    CHECK_FAILS(npy_write(made_path("x.npy"), &wrong), STATUS_UNSUPPORTED, "NumPy has no BF16");
    wrong = (NpyArray){.type = ELEMENT_F32, .rank = 17, .data = values};
    CHECK_FAILS(npy_write(made_path("x.npy"), &wrong), STATUS_INVALID, "17 dimensions");
    wrong = (NpyArray){.type = ELEMENT_F32, .rank = 2, .shape = {INT64_MAX, 4}, .data = values};
    CHECK_FAILS(npy_write(made_path("x.npy"), &wrong), STATUS_INVALID, "too large");
    CHECK(!file_exists(made_path("x.npy")));
    wrong = (NpyArray){.type = ELEMENT_F32, .rank = 1, .shape = {4}, .data = values};
    CHECK_FAILS(npy_write("/dev/full", &wrong), STATUS_IO, "No space left");
}

static void test_texts(void) {
    static const char *const texts[] = {"", "AAAC-1", "grün", "\xf0\x9f\xa7\xac"};
    static const char *const broken[] = {"\xff"};
    NpyArray array = {.rank = 1, .shape = {4}, .text = texts}, bad = {.rank = 1, .shape = {1}, .text = broken};
    Arena arena;
    NpyFile file;
    char **back = NULL;
    arena_init(&arena);
    CHECK_OK(npy_write(made_path("texts.npy"), &array));
    if (CHECK_OK(npy_open(made_path("texts.npy"), &file))) {
        CHECK(file.view.is_text && file.view.text_width == 6);
        if (CHECK_OK(npy_texts(&file, &arena, &back)))
            for (int i = 0; i < 4; i++) CHECK_TEXT(back[i], texts[i]);
        float number = 0;
        CHECK_FAILS(npy_read(&file, ELEMENT_F32, &number), STATUS_MISMATCH, "holds texts");
        npy_close(&file);
    }
    CHECK_FAILS(npy_write(made_path("bad.npy"), &bad), STATUS_INVALID, "not UTF-8");
    arena_free(&arena);
}

static void test_npz(void) {
    static const char *const texts[] = {"x", "yy"};
    double real[3] = {1.5, -2, 1e300};
    int64_t whole[2] = {INT64_MIN, 7};
    NpyArray arrays[] = {{"real", ELEMENT_F64, 1, {3}, real, NULL},
                         {"a/b", ELEMENT_I64, 1, {2}, whole, NULL},
                         {"names", ELEMENT_U8, 1, {2}, NULL, texts},
                         {"none", ELEMENT_F32, 2, {0, 4}, real, NULL}};
    const char *path = made_path("all.npz");
    Weights w;
    CHECK_OK(npz_write(path, arrays, 4));
    if (CHECK_OK(weights_open(path, &w))) {
        double back[3];
        int64_t numbers[2];
        int32_t narrow[2];
        CHECK_TEXT(w.kind, "NPZ");
        CHECK(w.count == 4);
        CHECK_OK(weights_read(&w, weights_find(&w, "real"), ELEMENT_F64, back));
        CHECK(memcmp(back, real, sizeof real) == 0);
        CHECK_OK(weights_read(&w, weights_find(&w, "a/b"), ELEMENT_I64, numbers));
        CHECK(memcmp(numbers, whole, sizeof whole) == 0);
        CHECK_FAILS(weights_read(&w, weights_find(&w, "a/b"), ELEMENT_I32, narrow), STATUS_MISMATCH,
                    "element 0 does not fit I32");
        CHECK_FAILS(weights_read(&w, weights_find(&w, "real"), ELEMENT_I32, narrow), STATUS_MISMATCH,
                    "cannot be read as I32");
        const WeightsTensor *none = weights_find(&w, "none");
        CHECK(none && none->elements == 0 && none->shape[1] == 4 && !weights_find(&w, "absent"));
        weights_close(&w);
    }
    arrays[1].name = "real";
    CHECK_FAILS(npz_write(path, arrays, 2), STATUS_INVALID, "two arrays are named real");
    CHECK_OK(npz_write(path, arrays, 0));
    CHECK_FAILS(weights_open(path, &w), STATUS_UNSUPPORTED, "neither data.pkl (torch) nor .npy entries");
}

// More entries than a zip directory can count without zip64.
static void test_many(void) {
    enum { MANY = 65600 };
    NpyArray *arrays = calloc(MANY, sizeof *arrays);
    char(*names)[16] = calloc(MANY, sizeof *names);
    const char *path = made_path("many.npz");
    uint8_t byte = 7;
    Weights w;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "a%d", i);
        arrays[i] = (NpyArray){.name = names[i], .type = ELEMENT_U8, .data = &byte};
    }
    CHECK_OK(npz_write(path, arrays, MANY));
    if (CHECK_OK(weights_open(path, &w))) {
        double back = 0;
        CHECK(w.count == MANY);
        CHECK_OK(weights_read(&w, weights_find(&w, "a65599"), ELEMENT_F64, &back));
        CHECK(back == 7);
        weights_close(&w);
    }
    free(names);
    free(arrays);
}

// An NPY file of this header and `data` bytes behind it.
static Status open_header(int version, const char *header, size_t data) {
    Text text = {0};
    size_t length = strlen(header);
    char start[12] = {(char)0x93,          'N', 'U', 'M', 'P', 'Y', (char)version, 0, (char)(length & 255),
                      (char)(length >> 8), 0,   0};
    text_append(&text, start, version == 1 ? 10 : 12);
    text_add(&text, header);
    for (size_t i = 0; i < data; i++) text_append(&text, "\0", 1);
    made_file(made_path("header.npy"), text.data, text.length);
    text_free(&text);
    NpyFile file;
    TRY(npy_open(made_path("header.npy"), &file));
    npy_close(&file);
    return STATUS_OK;
}

static void test_headers(void) {
    CHECK_OK(open_header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 8));
    CHECK_OK(open_header(2, "{\"shape\":(2L, 1L),\"fortran_order\":True,\"descr\":\"<f4\"}", 8));
    CHECK_OK(open_header(3, "{'descr': '|S3', 'fortran_order': False, 'shape': (), }", 3));
    CHECK_FAILS(open_header(4, "{}", 0), STATUS_UNSUPPORTED, "version 4.0");
    CHECK_FAILS(open_header(1, "{}", 0), STATUS_MALFORMED, "is missing");
    CHECK_FAILS(open_header(1, "", 0), STATUS_MALFORMED, "it is no dict");
    CHECK_FAILS(open_header(1, "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", 8), STATUS_MALFORMED,
                "neither True nor False");
    CHECK_FAILS(open_header(1, "{'descr': '<f4', 'descr': '<f4'}", 8), STATUS_MALFORMED, "stands twice");
    CHECK_FAILS(open_header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", 8), STATUS_MALFORMED,
                "no whole number");
    CHECK_FAILS(open_header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,", 8), STATUS_MALFORMED,
                "no whole number");
    CHECK_FAILS(open_header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 7), STATUS_MALFORMED,
                "need another size");
    CHECK_FAILS(open_header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 9), STATUS_MALFORMED,
                "need another size");
    CHECK_FAILS(
        open_header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}", 8),
        STATUS_MALFORMED, "need another size");
    CHECK_FAILS(open_header(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 0, 3)}", 8),
                STATUS_MALFORMED, "need another size");
    CHECK_FAILS(open_header(1, "{'descr': '<U4611686018427387904', 'fortran_order': False, 'shape': (1,)}", 8),
                STATUS_UNSUPPORTED, "a width");
    CHECK_FAILS(open_header(1, "{'descr': '<i3', 'fortran_order': False, 'shape': (1,)}", 3), STATUS_UNSUPPORTED,
                "none of b1");
    CHECK_FAILS(open_header(1, "{'descr': '>U2', 'fortran_order': False, 'shape': (1,)}", 8), STATUS_UNSUPPORTED,
                "big-endian");
}

static void test_damage(void) {
    double values[6] = {1, 2, 3, 4, 5, 6};
    NpyArray array = {"v", ELEMENT_F64, 2, {2, 3}, values, NULL};
    const char *from = made_path("whole.npy"), *to = made_path("part");
    CHECK_OK(npy_write(from, &array));
    uint64_t size = 0;
    CHECK_OK(file_size(from, &size));
    int failures = 0;
    for (uint64_t keep = 0; keep < size; keep++) {
        NpyFile file;
        remove(to);
        made_damaged(from, to, (size_t)keep, -1, 0);
        Status status = npy_open(to, &file);
        failures += status == STATUS_OK || !strstr(status_message(status), "part");
        status_drop(status);
    }
    CHECK(failures == 0);
}

int main(void) {
    made_begin();
    test_numbers();
    test_shapes();
    test_texts();
    test_npz();
    test_many();
    test_headers();
    test_damage();
    made_end();
    return check_report("npy");
}
