// weights_test: files of weights against what torch and NumPy say is in them (reference/weights.json, written by
// reference_weights.py), pickles that must be refused, and damage: weights_test [DIRECTORY OF reference]
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE // memmem
#endif
#include "made.h"

#include "../../runtime/core/json.h"
#include "../../runtime/data/weights.h"

static const char *reference;

static const char *file_path(const char *name) {
    char below[300];
    snprintf(below, sizeof below, "weights/%s", name);
    return made_below(reference, below);
}

// ---- against the references --------------------------------------------------------------------------------------

static void check_values(Weights *w, const WeightsTensor *t, const JsonValue *values) {
    size_t n = (size_t)t->elements, wrong = 0;
    double *wide = calloc(n + 1, sizeof *wide);
    float *single = calloc(n + 1, sizeof *single);
    if (!CHECK(values->length == n) || !CHECK_OK(weights_read(w, t, ELEMENT_F64, wide)) ||
        !CHECK_OK(weights_read(w, t, ELEMENT_F32, single)))
        n = 0;
    for (size_t i = 0; i < n; i++)
        wrong += wide[i] != values->items[i].number || single[i] != (float)values->items[i].number;
    if (!CHECK(wrong == 0)) printf("    %s: %s: %zu of %zu values differ\n", w->path, t->name, wrong, n);
    free(single);
    free(wide);
    unsigned char *raw = calloc(n + 1, element_size(t->type));
    const void *data = NULL;
    CHECK_OK(weights_read(w, t, t->type, raw));
    CHECK_OK(weights_data(w, t, &data));
    if (data) CHECK(memcmp(data, raw, n * element_size(t->type)) == 0);
    free(raw);
}

static void check_tensor(Weights *w, const char *name, const JsonValue *expected) {
    const WeightsTensor *t = weights_find(w, name);
    if (!CHECK(t != NULL)) {
        printf("    %s has no tensor %s\n", w->path, name);
        return;
    }
    const JsonValue *shape = json_get(expected, "shape");
    bool same = (size_t)t->rank == shape->length;
    for (int d = 0; same && d < t->rank; d++) same = t->shape[d] == shape->items[d].integer;
    CHECK(same);
    CHECK_TEXT(element_name(t->type), json_get(expected, "dtype")->string);
    if (same) check_values(w, t, json_get(expected, "values"));
}

static void check_texts(Weights *w, const char *name, const JsonValue *expected) {
    Arena arena;
    arena_init(&arena);
    char **texts = NULL;
    size_t count = 0;
    if (CHECK_OK(weights_texts(w, name, &arena, &texts, &count)) && CHECK(count == expected->length))
        for (size_t i = 0; i < count; i++) CHECK_TEXT(texts[i], expected->items[i].string);
    arena_free(&arena);
}

static void check_file(const char *name, const JsonValue *expected) {
    const JsonValue *refused = json_get(expected, "refused");
    Weights w;
    Status status = weights_open(file_path(name), &w);
    if (refused) {
        CHECK_FAILS(status, STATUS_UNSUPPORTED, refused->string);
        return;
    }
    if (!CHECK_OK(status)) return;
    const JsonValue *tensors = json_get(expected, "tensors"), *texts = json_get(expected, "texts"),
                    *facts = json_get(expected, "facts");
    CHECK_TEXT(w.kind, json_get(expected, "kind")->string);
    size_t numbers = 0;
    for (size_t i = 0; i < w.count; i++) numbers += !w.tensor[i].is_text;
    if (!CHECK(numbers == tensors->length))
        printf("    %s: %zu tensors, expected %zu\n", w.path, numbers, tensors->length);
    for (size_t i = 0; i < tensors->length; i++) check_tensor(&w, tensors->keys[i], &tensors->items[i]);
    for (size_t i = 0; i < texts->length; i++) check_texts(&w, texts->keys[i], &texts->items[i]);
    for (size_t i = 0; i < facts->length; i++) CHECK_TEXT(weights_fact(&w, facts->keys[i]), facts->items[i].string);
    weights_close(&w);
    weights_close(&w);
}

// ---- pickles made by hand ------------------------------------------------------------------------------------------

static Status open_bytes(const void *data, size_t size) {
    const char *path = made_path("made.pkl");
    Weights w;
    made_file(path, data, size);
    TRY(weights_open(path, &w));
    weights_close(&w);
    return STATUS_OK;
}

#define OPEN(text) open_bytes(text, sizeof text - 1)

static void test_refused(void) {
    static const char *const modules[] = {"os", "posix"};
    char ran[600];
    snprintf(ran, sizeof ran, "%s", made_path("ran"));
    for (int i = 0; i < 2; i++) {
        Text text = {0};
        text_printf(&text, "c%s\nsystem\n(S'touch %s'\ntR.", modules[i], ran);
        CHECK_FAILS(open_bytes(text.data, text.length), STATUS_UNSUPPORTED,
                    i ? "byte 0 (GLOBAL): it names 'system' of module 'posix'"
                      : "byte 0 (GLOBAL): it names 'system' of module 'os'");
        text_free(&text);
    }
    CHECK_FAILS(OPEN("\x80\x04\x8c\x08"
                     "builtins\x8c\x04"
                     "eval\x93\x8c\x03"
                     "1+1\x85R."),
                STATUS_UNSUPPORTED, "byte 18 (STACK_GLOBAL): it names 'eval' of module 'builtins'");
    CHECK_FAILS(OPEN("\x80\x04\x8c\x08"
                     "builtins\x8c\x07"
                     "getattr\x93."),
                STATUS_UNSUPPORTED, "'getattr'");
    CHECK_FAILS(OPEN("\x80\x04\x8c\x05"
                     "torch\x8c\x13"
                     "FloatStorage.__init\x93."),
                STATUS_UNSUPPORTED, "'FloatStorage.__init'");
    CHECK_FAILS(OPEN("(S'x'\nios\nsystem\n."), STATUS_UNSUPPORTED, "(INST): it names 'system'");
    CHECK_FAILS(OPEN("(cbuiltins\nexec\nS'x'\no."), STATUS_UNSUPPORTED, "'exec'");
    CHECK_FAILS(OPEN("\x80\x02"
                     "csubprocess\nPopen\n)\x81."),
                STATUS_UNSUPPORTED, "'Popen' of module 'subprocess'");
    CHECK_FAILS(OPEN("cbuiltins\nint\n(S'1'\ntR."), STATUS_UNSUPPORTED, "it calls builtins.int");
    CHECK_FAILS(OPEN("cbuiltins\nint\n)\x81."), STATUS_UNSUPPORTED, "makes an object of builtins.int");
    CHECK_FAILS(OPEN("(S'a'\nS'b'\ntR."), STATUS_MALFORMED, "(REDUCE)");
    CHECK_FAILS(OPEN("S'a'\n)R."), STATUS_UNSUPPORTED, "it calls a text");
    CHECK_FAILS(OPEN("]}b."), STATUS_UNSUPPORTED, "sets the state of a list");
    CHECK_FAILS(OPEN("\x80\x02\x82\x01."), STATUS_UNSUPPORTED, "extension registry");
    CHECK_FAILS(OPEN("\x80\x05\x97."), STATUS_UNSUPPORTED, "buffers outside the file");
    CHECK_FAILS(OPEN("\x80\x02X\x07\0\0\0storageQ."), STATUS_UNSUPPORTED, "only torch archives have");
    CHECK_FAILS(OPEN("(Pabc\n."), STATUS_UNSUPPORTED, "(PERSID)");
    CHECK(!file_exists(ran));
}

static void test_wrong(void) {
    CHECK_FAILS(OPEN("(."), STATUS_MALFORMED, "(STOP): it takes a value where a mark stands");
    CHECK_FAILS(OPEN("\x80\x02."), STATUS_MALFORMED, "empty stack");
    CHECK_FAILS(OPEN("\x80\x02h\x05."), STATUS_MALFORMED, "byte 2 (BINGET): memo number 5 was never set");
    CHECK_FAILS(OPEN("\x80\x02]r\xff\xff\xff\x7f."), STATUS_MALFORMED, "memo number is larger");
    CHECK_FAILS(OPEN("\x80\x02X\xff\xff\xff\xff"
                     "abc."),
                STATUS_MALFORMED, "byte 2 (BINUNICODE): 4294967295 more bytes");
    CHECK_FAILS(OPEN("\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff."), STATUS_MALFORMED, "(BINBYTES8)");
    CHECK_FAILS(OPEN("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN."), STATUS_MALFORMED, "a frame of");
    CHECK_FAILS(OPEN("\x80\x02}(K\x01u."), STATUS_MALFORMED, "a key has no value");
    CHECK_FAILS(OPEN("\x80\x02}K\x01"
                     "a."),
                STATUS_UNSUPPORTED, "adds to a dict");
    CHECK_FAILS(OPEN("\x80\x02N\xff."), STATUS_MALFORMED, "(no opcode): there is no such opcode");
    CHECK_FAILS(OPEN("I12x\n."), STATUS_MALFORMED, "no whole number");
    CHECK_FAILS(OPEN("(lp0\nNa"), STATUS_MALFORMED, "ends without STOP");
    CHECK_FAILS(OPEN("N.N."), STATUS_MALFORMED, "bytes follow the pickle");
    CHECK_FAILS(OPEN("\x80\x06N."), STATUS_MALFORMED, "none of the marks");
    CHECK_FAILS(OPEN("hello, world"), STATUS_MALFORMED, "none of the marks");
    CHECK_FAILS(OPEN(""), STATUS_MALFORMED, "is empty");
    char tar[600] = {0};
    memcpy(tar + 257, "ustar", 5);
    CHECK_FAILS(open_bytes(tar, sizeof tar), STATUS_UNSUPPORTED, "is a tar file");
    Weights w;
    CHECK_FAILS(weights_open(made_path("absent.pt"), &w), STATUS_NOT_FOUND, "cannot open");
    CHECK_FAILS(weights_open(made_path("."), &w), STATUS_INVALID, "is a directory");
    CHECK(mkfifo(made_path("pipe"), 0600) == 0);
    CHECK_FAILS(weights_open(made_path("pipe"), &w), STATUS_INVALID, "not a regular file");
    SafeFile safe;
    CHECK_FAILS(safetensors_open(made_path("pipe"), &safe), STATUS_INVALID, "not a regular file");
}

// Cycles, values that are shared again and again, depth.
static void test_shapes(void) {
    CHECK_OK(OPEN("\x80\x02]q\0h\0a.")); // l = []; l.append(l)
    CHECK_OK(OPEN("\x80\x02}q\0U\x01"
                  "ah\0s.")); // d = {"a": d}
    CHECK_OK(OPEN("\x80\x02]q\0(h\0h\0h\0e."));
    // A graph that wraps itself twice: names must not be looked for on 2^n ways.
    static const char graph[] = "ctorch_geometric.data.data\nData\n)\x81q\0}(U\6_storeh\0U\x08_mappingh\0ub.";
    Weights w;
    Arena arena;
    char **texts = NULL;
    size_t count = 0;
    arena_init(&arena);
    made_file(made_path("graph.pkl"), graph, sizeof graph - 1);
    if (CHECK_OK(weights_open(made_path("graph.pkl"), &w))) {
        CHECK_FAILS(weights_texts(&w, "x.y", &arena, &texts, &count), STATUS_NOT_FOUND, "no list of texts named x.y");
        weights_close(&w);
    }
    arena_free(&arena);
    Text laughs = {0}, deep = {0};
    text_append(&laughs, "\x80\x02]q\0", 5); // each list holds the one before it twice: 2^40 ways
    for (int i = 1; i <= 40; i++) {
        char level[] = {']', 'q', (char)i, '(', 'h', (char)(i - 1), 'h', (char)(i - 1), 'e'};
        text_append(&laughs, level, sizeof level);
    }
    text_add(&laughs, ".");
    CHECK_FAILS(open_bytes(laughs.data, laughs.length), STATUS_UNSUPPORTED, "values on all ways through it");
    text_append(&deep, "\x80\x02", 2);
    for (int i = 0; i < 1000000; i++) text_add(&deep, "]");
    for (int i = 0; i < 999999; i++) text_add(&deep, "a");
    text_add(&deep, ".");
    CHECK_FAILS(open_bytes(deep.data, deep.length), STATUS_UNSUPPORTED, "nested deeper than 100");
    text_free(&laughs);
    text_free(&deep);
    // A text that becomes bytes over and over.
    Text again = {0};
    text_append(&again, "\x80\x02X\x10\x27\0\0", 7);
    for (int i = 0; i < 10000; i++) text_add(&again, "x");
    text_append(&again,
                "q\0X\x06\0\0\0latin1q\x01"
                "c_codecs\nencode\nq\x02",
                33);
    for (int i = 0; i < 5000; i++) text_append(&again, "h\x02h\0h\x01\x86R", 8);
    text_add(&again, ".");
    CHECK_FAILS(open_bytes(again.data, again.length), STATUS_MALFORMED, "again and again");
    text_free(&again);
}

static void test_memory(void) {
    Text text = {0};
    text_append(&text, "\x80\x02", 2);
    for (int i = 0; i < 100000; i++) text_append(&text, "]", 1);
    text_add(&text, ".");
    Pickle pickle = {.name = "made", .limit = 1 << 20};
    size_t used = 0;
    CHECK_FAILS(pickle_read(&pickle, (unsigned char *)text.data, text.length, &used), STATUS_NO_MEMORY,
                "more than 1 MiB");
    pickle_free(&pickle);
    text_free(&text);
}

// ---- zip archives ---------------------------------------------------------------------------------------------------

// Changes `size` bytes at the n-th occurrence of `mark` plus `offset` and opens the file.
static Status open_changed(const char *name, const char *mark, size_t mark_size, long offset, const void *bytes,
                           size_t size) {
    char *data = NULL;
    size_t length = 0;
    TRY(file_read(file_path(name), 1 << 24, &data, &length));
    char *at = memmem(data, length, mark, mark_size);
    if (!at) {
        free(data);
        return status_make(STATUS_INTERNAL, "no mark");
    }
    memcpy(at + offset, bytes, size);
    made_file(made_path("changed"), data, length);
    free(data);
    Weights w;
    Status status = weights_open(made_path("changed"), &w);
    for (size_t i = 0; status == STATUS_OK && i < w.count; i++) {
        double *to = calloc((size_t)w.tensor[i].elements + 1, sizeof *to);
        status = weights_read(&w, &w.tensor[i], ELEMENT_F64, to);
        free(to);
    }
    weights_close(&w);
    return status;
}

static void test_zip(void) {
    CHECK_FAILS(open_changed("views.pt", "PK\1\2", 4, 10, "\x0c", 1), STATUS_UNSUPPORTED, "bzip2");
    CHECK_FAILS(open_changed("views.pt", "PK\1\2", 4, 8, "\x01", 1), STATUS_UNSUPPORTED, "encrypted");
    CHECK_FAILS(open_changed("views.pt", "PK\1\2", 4, 24, "\xff\xff\xff\x7f", 4), STATUS_MALFORMED,
                "two different sizes");
    CHECK_FAILS(open_changed("deflated.pt", "PK\1\2", 4, 24, "\xff\xff\xff\x7f", 4), STATUS_MALFORMED,
                "deflate cannot do");
    CHECK_FAILS(open_changed("views.pt", "PK\1\2", 4, 42, "\xff\xff\xff\x7f", 4), STATUS_MALFORMED,
                "there is no header");
    CHECK_FAILS(open_changed("views.pt", "PK\5\6", 4, 10, "\xff\xfe", 2), STATUS_MALFORMED, "");
    CHECK_FAILS(open_changed("views.pt", "PK\5\6", 4, 16, "\xff\xff\xff\x7f", 4), STATUS_MALFORMED, "outside the file");
    CHECK_FAILS(open_changed("views.pt", "\0\0\x80\x3f", 4, 0, "\0\0\x80\x40", 4), STATUS_MALFORMED,
                "do not match their checksum");
    CHECK_FAILS(open_changed("views.pt", "FloatStorage", 12, 0, "Flop", 4), STATUS_MALFORMED, "checksum");
    CHECK_FAILS(open_changed("types_stream.pt", "FloatStorage", 12, 0, "FlopStorage\n", 12), STATUS_UNSUPPORTED,
                "'FlopStorage'");
    CHECK_FAILS(open_changed("types_stream.pt", "little_endian", 13, 15, "\x89", 1), STATUS_UNSUPPORTED,
                "is big-endian");
    CHECK_FAILS(open_changed("types_stream.pt", "M\xe9\3.", 4, 1, "\xe8", 1), STATUS_UNSUPPORTED, "is not 1001");
    CHECK_FAILS(open_changed("types_stream.pt", "K\3K\4\x86", 5, 1, "\x7f", 1), STATUS_MALFORMED,
                "reaches beyond its storage");
    CHECK_FAILS(open_changed("views_stream.pth", "FloatStorage", 12, 0, "Real", 4), STATUS_UNSUPPORTED,
                "'RealtStorage'");
    uint64_t wide = (uint64_t)1 << 62;
    CHECK_FAILS(open_changed("types.safetensors", "{", 1, -8, &wide, 8), STATUS_MALFORMED,
                "the header is said to have");
    CHECK_FAILS(open_changed("types.safetensors", "\"F16\"", 5, 0, "\"F64\"", 5), STATUS_MALFORMED, "do not span");
    CHECK_FAILS(open_changed("stored.npz", "'<u2'", 5, 0, "'<u8'", 5), STATUS_MALFORMED, "checksum");
}

// One deflated entry of 400,000 bytes that is said to become 300,000,000: deflate could do that.
static void test_bomb(void) {
    enum { PACKED = 400000, CONTENT = 300000000 };
    static const char name[] = "a/data.pkl";
    Text zip = {0};
    unsigned char fields[26] = {20, 0, 0, 0, 8, 0};
    for (int i = 0; i < 4; i++) fields[14 + i] = (unsigned char)(PACKED >> 8 * i);
    for (int i = 0; i < 4; i++) fields[18 + i] = (unsigned char)(CONTENT >> 8 * i);
    fields[22] = sizeof name - 1;
    text_append(&zip, "PK\3\4", 4);
    text_append(&zip, (char *)fields, sizeof fields);
    text_append(&zip, name, sizeof name - 1);
    for (int i = 0; i < PACKED; i++) text_append(&zip, "\0", 1);
    uint32_t at = (uint32_t)zip.length, size = 46 + sizeof name - 1;
    text_append(&zip, "PK\1\2\x14\0", 6);
    text_append(&zip, (char *)fields, sizeof fields);
    text_append(&zip, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 14);
    text_append(&zip, name, sizeof name - 1);
    text_append(&zip, "PK\5\6\0\0\0\0\1\0\1\0", 12);
    text_append(&zip, (char *)&size, 4);
    text_append(&zip, (char *)&at, 4);
    text_append(&zip, "\0\0", 2);
    CHECK_FAILS(open_bytes(zip.data, zip.length), STATUS_NO_MEMORY, "would unpack from 400000 to 300000000 bytes");
    text_free(&zip);
}

// ---- damage
// -----------------------------------------------------------------------------------------------------------

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

// Reads everything that a damaged file still says it has. A message is never empty.
static bool survives(const char *path, bool must_fail) {
    Weights w;
    Status status = weights_open(path, &w);
    bool good = true;
    if (status == STATUS_OK) {
        for (size_t i = 0; i < w.count; i++) {
            const WeightsTensor *t = &w.tensor[i];
            if (t->elements > 1 << 20) continue;
            double *to = calloc((size_t)t->elements + 1, sizeof *to);
            Status read = weights_read(&w, t, ELEMENT_F64, to);
            if (read != STATUS_OK) good &= strlen(status_message(read)) > 10;
            status_drop(read);
            free(to);
        }
        weights_close(&w);
        return good && !must_fail;
    }
    good = strstr(status_message(status), made_root) != NULL && status_code(status) != STATUS_INTERNAL;
    if (!good) printf("    message: %s\n", status_message(status));
    status_drop(status);
    return good;
}

static void test_damage(const char *name) {
    const char *from = file_path(name), *to = made_path("damaged");
    uint64_t size = 0;
    if (!CHECK_OK(file_size(from, &size))) return;
    int failures = 0;
    for (uint64_t i = 0; i < 20; i++) {
        remove(to); // a new file: some file systems sync one that is overwritten
        made_damaged(from, to, (size_t)(size * i / 20), -1, 0);
        if (!survives(to, true)) failures++, printf("    %s cut at %llu\n", name, (unsigned long long)(size * i / 20));
    }
    for (int i = 0; i < 200; i++) {
        uint64_t at = next_random() % size;
        unsigned mask = 1 + (unsigned)(next_random() % 255);
        remove(to);
        made_damaged(from, to, (size_t)size, (long)at, mask);
        if (!survives(to, false)) failures++, printf("    %s byte %llu ^ %u\n", name, (unsigned long long)at, mask);
    }
    CHECK(failures == 0);
}

int main(int count, char **arguments) {
    reference = count > 1 ? arguments[1] : "tests/data/reference";
    made_begin();
    char *text = NULL;
    size_t size = 0;
    Arena arena;
    JsonValue *root = NULL;
    arena_init(&arena);
    if (CHECK_OK(file_read(made_below(reference, "weights.json"), 1 << 24, &text, &size)) &&
        CHECK_OK(json_parse("weights.json", text, size, &arena, &root))) {
        const JsonValue *files = json_get(root, "files");
        for (size_t i = 0; i < files->length; i++) check_file(files->keys[i], &files->items[i]);
        for (size_t i = 0; i < files->length; i++) test_damage(files->keys[i]);
    }
    free(text);
    arena_free(&arena);
    test_refused();
    test_wrong();
    test_shapes();
    test_memory();
    test_zip();
    test_bomb();
    made_end();
    return check_report("weights");
}
