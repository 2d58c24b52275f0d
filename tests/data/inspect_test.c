// inspect_test: every file of the samples through `stmdata inspect --json`; what it says must be what h5py, anndata,
// scanpy, pandas, Pillow, tifffile and OpenSlide say (reference/inspect.json, by reference_inspect.py), in every
// number.
//
// inspect_test REFERENCE SAMPLES STMDATA
#include <dirent.h>
#include <sys/wait.h>

#include "../../runtime/core/files.h"
#include "../../runtime/core/json.h"
#include "../check_status.h"

typedef struct Said {
    char *text;
    size_t size;
    int status;
} Said;

static Said ask(const char *tool, const char *file) {
    Said said = {.status = -1};
    char command[4096];
    snprintf(command, sizeof command, "'%s' inspect '%s' --json 2>&1", tool, file);
    FILE *pipe = popen(command, "r");
    if (!pipe) return said;
    size_t room = 1 << 16, got;
    said.text = malloc(room + 1);
    while (said.text && (got = fread(said.text + said.size, 1, room - said.size, pipe)) > 0) {
        said.size += got;
        if (said.size == room) said.text = realloc(said.text, (room *= 2) + 1);
    }
    if (said.text) said.text[said.size] = 0;
    int status = pclose(pipe);
    said.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return said;
}

static const JsonValue *member(const JsonValue *object, const char *key) {
    for (size_t i = 0; i < object->length; i++)
        if (strcmp(object->keys[i], key) == 0) return &object->items[i];
    return NULL;
}

static const char *type_of(const JsonValue *v) {
    static char text[80];
    if (v->type == JSON_NUMBER) snprintf(text, sizeof text, "%.17g", v->number);
    else if (v->type == JSON_STRING) snprintf(text, sizeof text, "\"%.60s\"", v->string);
    else
        snprintf(text, sizeof text, "%s",
                 v->type == JSON_OBJECT  ? "an object"
                 : v->type == JSON_ARRAY ? "a list"
                                         : "else");
    return text;
}

static int compared;

// Is everything that `wanted` has also in `seen`? Lists have the same length. Sums differ by the order of adding.
static bool agree(const JsonValue *wanted, const JsonValue *seen, const char *place) {
    char below[600];
    bool good = wanted->type == seen->type;
    compared++;
    if (good && wanted->type == JSON_NUMBER)
        good = fabs(wanted->number - seen->number) <= 1e-9 * fmax(1, fabs(wanted->number));
    if (good && wanted->type == JSON_STRING) good = strcmp(wanted->string, seen->string) == 0;
    if (good && wanted->type == JSON_ARRAY && wanted->length != seen->length) {
        printf("%s: %zu items, not %zu\n", place, seen->length, wanted->length);
        return false;
    }
    if (!good) {
        printf("%s: is %s", place, type_of(seen));
        printf(", should be %s\n", type_of(wanted));
        return false;
    }
    for (size_t i = 0; wanted->type == JSON_ARRAY && i < wanted->length; i++) {
        snprintf(below, sizeof below, "%.500s[%zu]", place, i);
        good = agree(&wanted->items[i], &seen->items[i], below) && good;
    }
    for (size_t i = 0; wanted->type == JSON_OBJECT && i < wanted->length; i++) {
        const JsonValue *part = member(seen, wanted->keys[i]);
        snprintf(below, sizeof below, "%.500s.%.80s", place, wanted->keys[i]);
        if (!part) printf("%s: not said\n", below);
        good = part && agree(&wanted->items[i], part, below) && good;
    }
    return good;
}

// A file that is refused, with a status and, for some, words that must be in the message.
static bool refused(const JsonValue *wanted, const Said *said, const char *name) {
    const JsonValue *says = member(wanted, "says");
    bool good = said->status == (int)member(wanted, "status")->number && strstr(said->text, path_base(name)) &&
                (!says || strstr(said->text, says->string));
    if (!good) printf("%s: status %d, %.300s\n", name, said->status, said->text);
    return good;
}

static void test_file(const char *tool, const char *samples, const char *name, const JsonValue *wanted) {
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", samples, name);
    Said said = ask(tool, path);
    if (!CHECK(said.text != NULL)) return;
    if (member(wanted, "status")) {
        CHECK(refused(wanted, &said, name));
    } else if (said.status != 0) {
        printf("%s: status %d: %.300s\n", name, said.status, said.text);
        CHECK(said.status == 0);
    } else {
        Arena arena;
        JsonValue *seen = NULL;
        arena_init(&arena);
        if (CHECK_OK(json_parse(name, said.text, said.size, &arena, &seen))) CHECK(agree(wanted, seen, name));
        arena_free(&arena);
    }
    free(said.text);
}

// Files of the samples that the reference does not know: it must be made anew.
static void test_complete(const char *samples, const char *below, const JsonValue *all) {
    char folder[2048];
    snprintf(folder, sizeof folder, "%s/%s", samples, below);
    DIR *directory = opendir(folder);
    if (!CHECK(directory != NULL)) return;
    for (struct dirent *e; (e = readdir(directory));) {
        char name[1024], path[4096];
        if (e->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", e->d_name);
        snprintf(path, sizeof path, "%s/%s", samples, name);
        if (is_directory(path)) test_complete(samples, name, all);
        else if (!CHECK(member(all, name) != NULL)) printf("%s is not in the reference\n", name);
    }
    closedir(directory);
}

int main(int argc, char **argv) {
    if (argc != 4 || !is_directory(argv[2])) {
        printf("inspect: skipped: the samples %s are not there\n", argc > 2 ? argv[2] : "");
        return 77;
    }
    char path[1024], *text = NULL;
    size_t size = 0;
    Arena arena;
    JsonValue *all = NULL;
    arena_init(&arena);
    snprintf(path, sizeof path, "%s/inspect.json", argv[1]);
    if (CHECK_OK(file_read(path, (size_t)1 << 24, &text, &size)) &&
        CHECK_OK(json_parse(path, text, size, &arena, &all))) {
        test_complete(argv[2], "", all);
        for (size_t i = 0; i < all->length; i++) test_file(argv[3], argv[2], all->keys[i], &all->items[i]);
        printf("%zu files and directories, %d values compared\n", all->length, compared);
    }
    free(text);
    arena_free(&arena);
    return check_report("inspect");
}
