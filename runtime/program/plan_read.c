// plan_read: the plan's text to its structures, strictly. One record a line, read by a cursor over the line's
// words.
#include <stdio.h>
#include <string.h>

#include "../core/strings.h"
#include "plan.h"

typedef struct Reader {
    const char *text;
    size_t size, at;        // `at`: start of the next line
    const char *word, *end; // cursor and end of the current line
    int64_t line;
    Arena *arena;
    StmPlan *plan;
    StmJob *job;  // open job, or NULL
    int room[16]; // capacities of the growing tables, by TABLE_*
} Reader;

enum { MOST_WORDS = 256, MOST_LAUNCH_EXTENTS = 32 };

enum {
    TABLE_AXIS,
    TABLE_TENSOR,
    TABLE_SETTING,
    TABLE_OPTION,
    TABLE_PREPARE,
    TABLE_KERNEL,
    TABLE_JOB,
    TABLE_GROUP,
    TABLE_BUFFER,
    TABLE_STEP,
    TABLE_OUTPUT,
};

static Status broken(const Reader *r, const char *expected, const char *found, size_t length) {
    char shown[QUOTED_TEXT];
    return status_make(STATUS_INTERNAL, "the program's plan, line %lld: expected %s, found %s (this is a bug in stmc)",
                       (long long)r->line, expected, length ? quoted(found, length, shown) : "the end of the line");
}

// Makes room for one more element of a table and zeroes it.
static Status grow(Reader *r, int table, void *pointer, int count, size_t size) {
    void **items = pointer;
    if (count < r->room[table]) return STATUS_OK;
    if (count > (1 << 28)) return broken(r, "fewer records", "too many", 8);
    int room = count < 8 ? 16 : count * 2;
    char *larger = arena_alloc(r->arena, (size_t)room, size);
    if (!larger) return arena_exhausted((size_t)room, size);
    if (count) memcpy(larger, *items, (size_t)count * size);
    *items = larger;
    r->room[table] = room;
    return STATUS_OK;
}
#define GROW(r, table, items, count) grow((r), (table), &(items), (count), sizeof *(items))

static void skip_blanks(Reader *r) {
    while (r->word < r->end && (*r->word == ' ' || *r->word == '\t')) r->word++;
    if (r->word < r->end && *r->word == '#') r->word = r->end;
}

// The next word: up to a blank, or one of [ ] alone. Empty at the end of the line.
static size_t next_word(Reader *r, const char **word) {
    skip_blanks(r);
    const char *p = r->word;
    *word = p;
    if (p < r->end && (*p == '[' || *p == ']')) {
        p++;
    } else {
        while (p < r->end && *p != ' ' && *p != '\t' && *p != '[' && *p != ']') p++;
    }
    r->word = p;
    return (size_t)(p - *word);
}

static bool same(const char *word, size_t length, const char *name) {
    return strlen(name) == length && memcmp(word, name, length) == 0;
}

static Status read_integer(Reader *r, const char *what, int64_t low, int64_t high, int64_t *out) {
    const char *word;
    size_t n = next_word(r, &word);
    if (!parse_i64(word, n, out) || *out < low || *out > high) return broken(r, what, word, n);
    return STATUS_OK;
}

static Status read_int(Reader *r, const char *what, int low, int high, int *out) {
    int64_t value = 0;
    TRY(read_integer(r, what, low, high, &value));
    *out = (int)value;
    return STATUS_OK;
}

// A reference: a number below `count`, or "-" for -1.
static Status read_reference(Reader *r, const char *what, int count, int *out) {
    skip_blanks(r);
    if (r->word < r->end && *r->word == '-' && (r->word + 1 == r->end || r->word[1] == ' ')) {
        r->word++;
        *out = -1;
        return STATUS_OK;
    }
    return read_int(r, what, 0, count - 1, out);
}

static Status read_flag(Reader *r, const char *what, bool *out) {
    const char *word;
    size_t n = next_word(r, &word);
    *out = same(word, n, "1") || same(word, n, "true");
    if (*out || same(word, n, "0") || same(word, n, "false")) return STATUS_OK;
    return broken(r, what, word, n);
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// A string in quotes, or a bare word, or "-" for NULL.
static Status read_text(Reader *r, const char *what, const char **out) {
    skip_blanks(r);
    const char *p = r->word;
    if (p == r->end) return broken(r, what, p, 0);
    if (*p != '"') {
        const char *word;
        size_t n = next_word(r, &word);
        char *copy = NULL;
        if (same(word, n, "-")) {
            *out = NULL;
            return STATUS_OK;
        }
        TRY(ARENA_COPY(r->arena, copy, word, n));
        *out = copy;
        return STATUS_OK;
    }
    char *copy = NULL;
    size_t n = 0;
    TRY(ARENA_NEW(r->arena, copy, (size_t)(r->end - p)));
    for (p++; p < r->end && *p != '"'; p++) {
        char c = *p;
        if (c == '\\') {
            if (p + 1 == r->end) break;
            c = *++p;
            if (c == 'n') c = '\n';
            else if (c == 't') c = '\t';
            else if (c == 'x') {
                int high = p + 2 < r->end ? hex_digit(p[1]) : -1, low = p + 2 < r->end ? hex_digit(p[2]) : -1;
                if (high < 0 || low < 0) return broken(r, "\\xHH", p, (size_t)(r->end - p));
                c = (char)(high << 4 | low);
                p += 2;
            } else if (c != '"' && c != '\\') return broken(r, "an escape \\\" \\\\ \\n \\t \\xHH", p - 1, 2);
        }
        copy[n++] = c;
    }
    if (p == r->end) return broken(r, "a closing quote", r->word, (size_t)(r->end - r->word));
    r->word = p + 1;
    *out = copy;
    return STATUS_OK;
}

static Status read_name(Reader *r, const char *what, const char **out) {
    TRY(read_text(r, what, out));
    return *out ? STATUS_OK : broken(r, what, "-", 1);
}

static Status read_real(Reader *r, const char *what, double *out, bool *given) {
    const char *word;
    size_t n = next_word(r, &word);
    *given = !same(word, n, "-");
    if (*given && !parse_f64(word, n, out)) return broken(r, what, word, n);
    return STATUS_OK;
}

// One of `names`, which ends with NULL.
static Status read_choice(Reader *r, const char *what, const char *const *names, int *out) {
    const char *word;
    size_t n = next_word(r, &word);
    for (int i = 0; names[i]; i++) {
        if (same(word, n, names[i])) {
            *out = i;
            return STATUS_OK;
        }
    }
    return broken(r, what, word, n);
}

static const char *const type_names[] = {"f32", "f64", "i32", "i64", "u8", "bool", "bf16", NULL};

static Status read_type(Reader *r, StmType *out) {
    int type = 0;
    TRY(read_choice(r, "a type", type_names, &type));
    *out = (StmType)type;
    return STATUS_OK;
}

static int find_axis(const StmPlan *plan, const char *name, size_t length) {
    for (int a = 0; a < plan->axes; a++)
        if (same(name, length, plan->axis[a].name)) return a;
    return -1;
}

// Axis by name; "$0" and "$1" are the step's own extents, which follow the axes.
static int find_extent(const Reader *r, const char *name, size_t length) {
    if (length == 2 && name[0] == '$' && (name[1] == '0' || name[1] == '1')) return r->plan->axes + (name[1] - '0');
    return find_axis(r->plan, name, length);
}

// "12", "9*spot" or "spot" in word[0 .. n).
static Status parse_extent(const Reader *r, const char *word, size_t n, StmExtent *out) {
    *out = (StmExtent){.count = 1, .axis = -1};
    const char *star = memchr(word, '*', n);
    size_t head = star ? (size_t)(star - word) : n;
    if (n && parse_i64(word, head, &out->count) && out->count >= 0 && out->count < ((int64_t)1 << 48)) {
        if (!star) return STATUS_OK;
        out->axis = find_extent(r, star + 1, n - head - 1);
    } else if (n && !star) {
        out->axis = find_extent(r, word, n);
    }
    return out->axis >= 0 ? STATUS_OK : broken(r, "an extent such as 12 or 9*spot", word, n);
}

static Status expect_word(Reader *r, const char *what) {
    const char *word;
    size_t n = next_word(r, &word);
    return same(word, n, what) ? STATUS_OK : broken(r, what, word, n);
}

static Status line_end(Reader *r) {
    const char *word;
    size_t n = next_word(r, &word);
    return n ? broken(r, "the end of the line", word, n) : STATUS_OK;
}

static Status read_axis(Reader *r) {
    static const char *const kinds[] = {"constant", "dynamic", "data", NULL};
    StmPlan *plan = r->plan;
    TRY(GROW(r, TABLE_AXIS, plan->axis, plan->axes));
    StmAxis *axis = &plan->axis[plan->axes];
    int number = 0, kind = 0;
    TRY(read_int(r, "the axis's number in order", plan->axes, plan->axes, &number));
    TRY(read_name(r, "the axis's name", &axis->name));
    TRY(read_choice(r, "constant, dynamic or data", kinds, &kind));
    axis->dynamic = kind == 1;
    axis->from_data = kind == 2;
    TRY(read_integer(r, "the axis's extent", 0, (int64_t)1 << 40, &axis->count));
    TRY(read_text(r, "the axis's description", &axis->doc));
    plan->axes++;
    return STATUS_OK;
}

static Status read_pair(Reader *r, int table, StmPair **pairs, int *count) {
    TRY(grow(r, table, pairs, *count, sizeof **pairs));
    TRY(read_name(r, "a name", &(*pairs)[*count].name));
    TRY(read_text(r, "a value", &(*pairs)[*count].value));
    ++*count;
    return STATUS_OK;
}

static Status read_setting(Reader *r) {
    static const char *const kinds[] = {"real", "integer", "text", NULL};
    StmPlan *plan = r->plan;
    TRY(GROW(r, TABLE_SETTING, plan->setting, plan->settings));
    StmSetting *setting = &plan->setting[plan->settings];
    int kind = 0;
    bool given = false, low = false, high = false;
    TRY(read_name(r, "the setting's name", &setting->name));
    TRY(read_choice(r, "real, integer or text", kinds, &kind));
    setting->is_integer = kind == 1;
    setting->is_text = kind == 2;
    if (setting->is_text) {
        TRY(read_text(r, "the setting's value", &setting->text));
    } else {
        TRY(read_real(r, "the setting's value", &setting->value, &given));
        if (!given) return broken(r, "the setting's value", "-", 1);
    }
    TRY(read_real(r, "the setting's lower limit", &setting->low, &low));
    TRY(read_real(r, "the setting's upper limit", &setting->high, &high));
    if (low != high) return broken(r, "both limits or none", "one", 3);
    setting->ranged = low;
    TRY(read_reference(r, "the setting's scalar", INT32_MAX, &setting->scalar)); // checked when all tensors are known
    TRY(read_text(r, "the setting's description", &setting->doc));
    plan->settings++;
    return STATUS_OK;
}

static Status read_train(Reader *r) {
    StmTrain *train = &r->plan->train;
    TRY(read_integer(r, "the number of epochs", 0, INT32_MAX, &train->epochs));
    TRY(read_integer(r, "the batch size", 0, INT32_MAX, &train->batch));
    TRY(read_flag(r, "shuffle: 0 or 1", &train->shuffle));
    TRY(read_flag(r, "keep last: 0 or 1", &train->keep_last));
    TRY(read_text(r, "the monitor", &train->monitor));
    TRY(read_text(r, "the monitor's split", &train->split));
    TRY(read_flag(r, "maximise: 0 or 1", &train->maximise));
    const char *word;
    size_t n = next_word(r, &word);
    if (!same(word, n, "-") && (!parse_i64(word, n, &train->patience) || train->patience < 0))
        return broken(r, "the patience", word, n);
    TRY(read_text(r, "what the baselines predict", &train->compare));
    TRY(read_text(r, "what the baselines are compared with", &train->with));
    return STATUS_OK;
}

static Status read_tensor(Reader *r) {
    static const char *const kinds[] = {"input", "scalar", "param", "state", "temp", NULL};
    StmPlan *plan = r->plan;
    TRY(GROW(r, TABLE_TENSOR, plan->tensor, plan->tensors));
    StmTensor *tensor = &plan->tensor[plan->tensors];
    int number = 0, kind = 0;
    TRY(read_int(r, "the tensor's number in order", plan->tensors, plan->tensors, &number));
    TRY(read_choice(r, "input, scalar, param, state or temp", kinds, &kind));
    tensor->kind = (StmTensorKind)kind;
    TRY(read_type(r, &tensor->type));
    TRY(read_name(r, "the tensor's name", &tensor->name));
    TRY(read_text(r, "the tensor's dataset", &tensor->dataset));
    TRY(read_flag(r, "weight: 0 or 1", &tensor->weight));
    TRY(expect_word(r, "["));
    const char *word;
    size_t n;
    for (; (n = next_word(r, &word)) && *word != ']'; tensor->rank++) {
        if (tensor->rank == STM_MAX_RANK) return broken(r, "at most 8 dimensions", word, n);
        TRY(parse_extent(r, word, n, &tensor->dim[tensor->rank]));
        if (tensor->dim[tensor->rank].axis >= plan->axes) return broken(r, "an extent without $", word, n);
    }
    if (!n) return broken(r, "]", word, n);
    TRY(expect_word(r, "["));
    int axes = 0;
    for (; (n = next_word(r, &word)) && *word != ']'; axes++) {
        if (axes == tensor->rank) return broken(r, "as many axes as dimensions", word, n);
        tensor->axis[axes] = same(word, n, "-") ? -1 : find_axis(plan, word, n);
        if (tensor->axis[axes] < 0 && !same(word, n, "-")) return broken(r, "the name of an axis or -", word, n);
    }
    if (!n || axes != tensor->rank) return broken(r, "as many axes as dimensions", word, n);
    plan->tensors++;
    return STATUS_OK;
}

static Status read_kernel(Reader *r) {
    StmPlan *plan = r->plan;
    TRY(GROW(r, TABLE_KERNEL, plan->kernel, plan->kernels));
    StmKernelInfo *kernel = &plan->kernel[plan->kernels];
    int number = 0;
    TRY(read_int(r, "the kernel's number in order", plan->kernels, plan->kernels, &number));
    TRY(read_name(r, "the kernel's name", &kernel->name));
    TRY(read_integer(r, "the kernel's scratch", 0, (int64_t)1 << 40, &kernel->scratch));
    TRY(read_integer(r, "the kernel's operations", 0, INT64_MAX, &kernel->flops));
    plan->kernels++;
    return STATUS_OK;
}

// The kernel that a launch or matmul record is about: the last one.
static Status read_last_kernel(Reader *r, StmKernelInfo **out) {
    StmPlan *plan = r->plan;
    int number = 0;
    if (plan->kernels == 0) return broken(r, "a kernel record first", "", 0);
    TRY(read_int(r, "the number of the kernel above", plan->kernels - 1, plan->kernels - 1, &number));
    *out = &plan->kernel[number];
    if ((*out)->launch || (*out)->matmul) return broken(r, "one launch or matmul for a kernel", "", 0);
    return STATUS_OK;
}

static Status read_launch(Reader *r) {
    StmKernelInfo *kernel = NULL;
    StmLaunch *launch = NULL;
    const char *word;
    size_t n;
    int64_t words[MOST_WORDS];
    int extents[MOST_LAUNCH_EXTENTS];
    TRY(read_last_kernel(r, &kernel));
    TRY(ARENA_NEW(r->arena, launch, 1));
    TRY(read_name(r, "the function's name", &launch->function));
    TRY(read_int(r, "the threads of a block", 1, 1024, &launch->threads));
    TRY(read_integer(r, "the bytes of shared memory", 0, 1 << 20, &launch->shared));
    TRY(expect_word(r, "["));
    while ((n = next_word(r, &word)) && *word != ']') {
        if (launch->words == MOST_WORDS || !parse_i64(word, n, &words[launch->words]))
            return broken(r, "a number among the launch's words", word, n);
        launch->words++;
    }
    TRY(expect_word(r, "["));
    while ((n = next_word(r, &word)) && *word != ']') {
        int axis = find_extent(r, word, n);
        if (launch->extents == MOST_LAUNCH_EXTENTS || axis < 0) return broken(r, "an axis of the launch", word, n);
        extents[launch->extents++] = axis;
    }
    n = next_word(r, &word);
    launch->table = same(word, n, "table");
    if (!launch->table && !same(word, n, "single")) return broken(r, "single or table", word, n);
    TRY(read_int(r, "the registers of a thread", 0, 1024, &launch->registers));
    TRY(read_integer(r, "the bytes of static shared memory", 0, 1 << 20, &launch->static_shared));
    TRY(read_integer(r, "the bytes of spills", 0, 1 << 30, &launch->spills));
    int64_t *word_copy = NULL;
    int *extent_copy = NULL;
    TRY(ARENA_NEW(r->arena, word_copy, (size_t)launch->words + 1));
    TRY(ARENA_NEW(r->arena, extent_copy, (size_t)launch->extents + 1));
    memcpy(word_copy, words, (size_t)launch->words * sizeof *words);
    memcpy(extent_copy, extents, (size_t)launch->extents * sizeof *extents);
    launch->word = word_copy;
    launch->extent = extent_copy;
    kernel->launch = launch;
    return STATUS_OK;
}

static Status read_matmul(Reader *r) {
    static const char *const computes[] = {"f32", "tf32", "bf16", "f64", NULL};
    static const char *const epilogues[] = {"none",     "bias",          "relu",    "relu_bias", "gelu", "gelu_bias",
                                            "gelu_aux", "gelu_aux_bias", "bgrad_a", "bgrad_b",   NULL};
    static const char *const transposes[] = {"nn", "nt", "tn", "tt", NULL};
    StmKernelInfo *kernel = NULL;
    StmMatmul *m = NULL;
    const char *word;
    int choice = 0;
    TRY(read_last_kernel(r, &kernel));
    TRY(ARENA_NEW(r->arena, m, 1));
    TRY(read_choice(r, "f32, tf32, bf16 or f64", computes, &choice));
    m->compute = (StmCompute)choice;
    TRY(read_type(r, &m->in));
    TRY(read_type(r, &m->out));
    TRY(read_int(r, "the argument A", 0, 63, &m->a));
    TRY(read_int(r, "the argument B", 0, 63, &m->b));
    TRY(read_int(r, "the argument D", 0, 63, &m->d));
    TRY(read_reference(r, "the argument with the bias", 64, &m->bias));
    TRY(read_reference(r, "the argument AUX", 64, &m->aux));
    TRY(read_choice(r, "an epilogue", epilogues, &choice));
    m->epilogue = (StmEpilogue)choice;
    TRY(read_choice(r, "nn, nt, tn or tt", transposes, &choice));
    m->transpose_a = choice >= 2;
    m->transpose_b = choice % 2;
    StmExtent *extents[] = {&m->m,   &m->n,   &m->k,        &m->batch,    &m->lda,
                            &m->ldb, &m->ldd, &m->stride_a, &m->stride_b, &m->stride_d};
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        size_t n = next_word(r, &word);
        TRY(parse_extent(r, word, n, extents[i]));
    }
    TRY(read_integer(r, "the first element of A", 0, INT32_MAX, &m->offset_a));
    TRY(read_integer(r, "the first element of B", 0, INT32_MAX, &m->offset_b));
    TRY(read_integer(r, "the first element of D", 0, INT32_MAX, &m->offset_d));
    kernel->matmul = m;
    return STATUS_OK;
}

static Status read_job(Reader *r) {
    StmPlan *plan = r->plan;
    TRY(GROW(r, TABLE_JOB, plan->job, plan->jobs));
    r->job = &plan->job[plan->jobs];
    TRY(read_name(r, "the job's name", &r->job->name));
    plan->jobs++;
    for (int t = TABLE_GROUP; t <= TABLE_OUTPUT; t++) r->room[t] = 0;
    return STATUS_OK;
}

static Status read_group(Reader *r) {
    StmJob *job = r->job;
    TRY(GROW(r, TABLE_GROUP, job->group, job->groups));
    StmGroup *group = &job->group[job->groups];
    *group = (StmGroup){.axis = {-1, -1}};
    int number = 0;
    TRY(read_int(r, "the group's number in order", job->groups, job->groups, &number));
    const char *word;
    size_t n = next_word(r, &word);
    if (!same(word, n, "1")) {
        const char *star = memchr(word, '*', n);
        size_t head = star ? (size_t)(star - word) : n;
        group->axis[0] = find_axis(r->plan, word, head);
        if (star) group->axis[1] = find_axis(r->plan, star + 1, n - head - 1);
        if (group->axis[0] < 0 || (star && group->axis[1] < 0))
            return broken(r, "1, an axis or the product of two", word, n);
    }
    TRY(read_integer(r, "the group's bytes", 0, (int64_t)1 << 48, &group->bytes));
    if (group->axis[1] < 0 && group->bytes % 64) return broken(r, "a multiple of 64 bytes", word, n);
    job->groups++;
    return STATUS_OK;
}

static Status read_buffer(Reader *r) {
    StmJob *job = r->job;
    StmPlan *plan = r->plan;
    TRY(GROW(r, TABLE_BUFFER, job->buffer, job->buffers));
    StmBuffer *buffer = &job->buffer[job->buffers];
    int number = 0;
    TRY(read_int(r, "the buffer's number in order", job->buffers, job->buffers, &number));
    TRY(read_reference(r, "the buffer's tensor", plan->tensors, &buffer->tensor));
    TRY(read_reference(r, "the buffer's group", job->groups, &buffer->group));
    TRY(read_integer(r, "the buffer's offset", 0, (int64_t)1 << 48, &buffer->offset));
    TRY(read_integer(r, "the buffer's bytes", 0, (int64_t)1 << 48, &buffer->bytes));
    TRY(read_int(r, "the buffer's first step", -1, INT32_MAX, &buffer->first));
    TRY(read_int(r, "the buffer's last step", -1, INT32_MAX, &buffer->last));
    bool own = buffer->tensor >= 0 && plan->tensor[buffer->tensor].kind != STM_TEMP;
    if (own != (buffer->group < 0)) return broken(r, "a group for temporaries and none for other tensors", "", 0);
    if (!own) {
        if (job->group[buffer->group].axis[1] < 0 && buffer->offset % 64)
            return broken(r, "an offset that is a multiple of 64", "", 0);
        if (buffer->offset + buffer->bytes > job->group[buffer->group].bytes)
            return broken(r, "a buffer inside its group", "", 0);
    }
    job->buffers++;
    return STATUS_OK;
}

static Status new_step(Reader *r, StmStepKind kind, StmStep **out) {
    StmJob *job = r->job;
    TRY(GROW(r, TABLE_STEP, job->step, job->steps));
    *out = &job->step[job->steps++];
    **out = (StmStep){.kind = kind, .divide = 1, .times = 1, .calls = 1, .parts = {.count = 1, .axis = -1}};
    return STATUS_OK;
}

// "PARTS", "PARTS/DIVIDE" or "PARTS/DIVIDE*TIMES".
static Status read_parts(Reader *r, StmStep *step) {
    const char *word;
    size_t n = next_word(r, &word);
    const char *slash = memchr(word, '/', n);
    size_t head = slash ? (size_t)(slash - word) : n;
    TRY(parse_extent(r, word, head, &step->parts));
    if (!slash) return STATUS_OK;
    size_t rest = n - head - 1;
    const char *star = memchr(slash + 1, '*', rest);
    size_t middle = star ? (size_t)(star - slash - 1) : rest;
    if (!parse_i64(slash + 1, middle, &step->divide) || step->divide < 1 ||
        (star && (!parse_i64(star + 1, rest - middle - 1, &step->times) || step->times < 1)))
        return broken(r, "PARTS/DIVIDE*TIMES", word, n);
    return STATUS_OK;
}

static Status read_arguments(Reader *r, StmStep *step) {
    int *arguments = NULL, room = 8;
    const char *word;
    size_t n;
    TRY(ARENA_NEW(r->arena, arguments, (size_t)room));
    while ((n = next_word(r, &word)) && *word != ']') {
        int64_t argument = 0;
        if (!parse_i64(word, n, &argument) || argument < 0 || argument >= r->job->buffers)
            return broken(r, "the number of a buffer", word, n);
        if (step->args == room) {
            int *larger = NULL;
            TRY(ARENA_NEW(r->arena, larger, (size_t)room * 2));
            memcpy(larger, arguments, (size_t)room * sizeof *larger);
            arguments = larger;
            room *= 2;
        }
        arguments[step->args++] = (int)argument;
    }
    if (!n) return broken(r, "]", word, n);
    step->arg = arguments;
    return STATUS_OK;
}

static Status read_run(Reader *r) {
    StmPlan *plan = r->plan;
    StmStep *step = NULL;
    TRY(new_step(r, STM_RUN, &step));
    const char *word;
    size_t n = next_word(r, &word);
    int64_t kernel = -1, calls = 1;
    if (!parse_i64(word, n, &kernel)) {
        for (kernel = 0; kernel < plan->kernels && !same(word, n, plan->kernel[kernel].name);) kernel++;
    }
    if (kernel < 0 || kernel >= plan->kernels) return broken(r, "the number or name of a kernel", word, n);
    step->kernel = (int)kernel;
    TRY(read_parts(r, step));
    n = next_word(r, &word);
    if (n > 1 && *word == 'x') {
        if (!parse_i64(word + 1, n - 1, &calls) || calls < 1 || calls > (1 << 20))
            return broken(r, "a number of calls such as x12", word, n);
        n = next_word(r, &word);
    }
    step->calls = (int)calls;
    if (!same(word, n, "[")) return broken(r, "[", word, n);
    TRY(read_arguments(r, step));
    if (step->args % step->calls) return broken(r, "as many buffers for each call", "", 0);
    TRY(read_text(r, "the step's origin", &step->origin));
    StmExtent *extent = NULL;
    TRY(ARENA_NEW(r->arena, extent, (size_t)step->calls * 2));
    for (; (n = next_word(r, &word)); step->extents++) {
        if (step->extents == 2 * step->calls) return broken(r, "at most two step extents a call", word, n);
        TRY(parse_extent(r, word, n, &extent[step->extents]));
        if (extent[step->extents].axis >= plan->axes) return broken(r, "a step extent without $", word, n);
    }
    step->extent = extent;
    if (step->extents % step->calls) return broken(r, "as many step extents for each call", "", 0);
    step->extents /= step->calls;
    if (step->parts.axis >= plan->axes + step->extents) return broken(r, "the step extents that PARTS names", word, n);
    const StmLaunch *launch = plan->kernel[kernel].launch;
    const StmMatmul *m = plan->kernel[kernel].matmul;
    for (int i = 0; launch && i < launch->extents; i++)
        if (launch->extent[i] >= plan->axes + step->extents)
            return broken(r, "the step extents that the kernel's launch names", "", 0);
    if (step->calls > 1 && !(launch && launch->table)) return broken(r, "several calls only with a table", "", 0);
    if (m && (m->a >= step->args || m->b >= step->args || m->d >= step->args || m->bias >= step->args ||
              m->aux >= step->args))
        return broken(r, "the arguments that the kernel's matmul names", "", 0);
    return STATUS_OK;
}

static Status read_move(Reader *r, StmStepKind kind) {
    StmStep *step = NULL;
    int *arguments = NULL;
    TRY(new_step(r, kind, &step));
    step->args = kind == STM_COPY ? 2 : 1;
    TRY(ARENA_NEW(r->arena, arguments, 2));
    for (int i = 0; i < step->args; i++) {
        TRY(read_int(r, "the number of a buffer", 0, r->job->buffers - 1, &arguments[i]));
    }
    step->arg = arguments;
    return STATUS_OK;
}

static Status read_output(Reader *r) {
    StmJob *job = r->job;
    TRY(GROW(r, TABLE_OUTPUT, job->output, job->outputs));
    StmJobOutput *output = &job->output[job->outputs];
    TRY(read_name(r, "the output's name", &output->name));
    TRY(read_int(r, "the number of a buffer", 0, job->buffers - 1, &output->buffer));
    output->tensor = job->buffer[output->buffer].tensor;
    skip_blanks(r);
    if (r->word < r->end) TRY(read_reference(r, "the output's tensor", r->plan->tensors, &output->tensor));
    if (output->tensor < 0) return broken(r, "a tensor as output", output->name, strlen(output->name));
    job->outputs++;
    return STATUS_OK;
}

static Status read_record(Reader *r) {
    StmPlan *plan = r->plan;
    const char *word;
    size_t n = next_word(r, &word);
    if (!n) return STATUS_OK;
    if (r->job) {
        if (same(word, n, "group")) return read_group(r);
        if (same(word, n, "buffer")) return read_buffer(r);
        if (same(word, n, "run")) return read_run(r);
        if (same(word, n, "zero")) return read_move(r, STM_ZERO);
        if (same(word, n, "copy")) return read_move(r, STM_COPY);
        if (same(word, n, "output")) return read_output(r);
        if (same(word, n, "end")) {
            r->job = NULL;
            return STATUS_OK;
        }
        return broken(r, "a record of a job (group buffer run zero copy output end)", word, n);
    }
    if (same(word, n, "program")) {
        TRY(read_name(r, "the program's name", &plan->name));
        TRY(read_type(r, &plan->real));
        TRY(read_name(r, "the version of stmc", &plan->version));
        return read_text(r, "the program's description", &plan->doc);
    }
    if (same(word, n, "axis")) return read_axis(r);
    if (same(word, n, "option")) return read_pair(r, TABLE_OPTION, &plan->option, &plan->options);
    if (same(word, n, "setting")) return read_setting(r);
    if (same(word, n, "prepare")) return read_pair(r, TABLE_PREPARE, &plan->prepare, &plan->prepares);
    if (same(word, n, "train")) return read_train(r);
    if (same(word, n, "tensor")) return read_tensor(r);
    if (same(word, n, "kernel")) return read_kernel(r);
    if (same(word, n, "launch")) return read_launch(r);
    if (same(word, n, "matmul")) return read_matmul(r);
    if (same(word, n, "job")) return read_job(r);
    return broken(r, "a record (program axis option setting prepare train tensor kernel launch matmul job)", word, n);
}

static bool next_line(Reader *r) {
    if (r->at >= r->size) return false;
    const char *start = r->text + r->at;
    const char *stop = memchr(start, '\n', r->size - r->at);
    r->word = start;
    r->end = stop ? stop : r->text + r->size;
    r->at = (size_t)(r->end - r->text) + 1;
    r->line++;
    return true;
}

Status plan_read(const char *text, size_t size, Arena *arena, StmPlan **out_plan) {
    *out_plan = NULL;
    StmPlan *plan = NULL;
    TRY(ARENA_NEW(arena, plan, 1));
    Reader reader = {.text = text, .size = size, .arena = arena, .plan = plan};
    Reader *r = &reader;
    const char *word;
    bool started = false;
    while (next_line(r)) {
        if (!started) {
            size_t n = next_word(r, &word);
            if (!n) continue;
            int64_t form = 0;
            if (!same(word, n, "stmplan")) return broken(r, "stmplan 1", word, n);
            TRY(read_integer(r, "form 1", 1, 1, &form));
            started = true;
        } else {
            TRY(read_record(r));
        }
        TRY(line_end(r));
    }
    if (r->job) return broken(r, "end of the job", "", 0);
    if (!plan->name) return broken(r, "a program record", "", 0);
    for (int s = 0; s < plan->settings; s++) {
        int scalar = plan->setting[s].scalar;
        if (scalar >= plan->tensors || (scalar >= 0 && plan->tensor[scalar].kind != STM_SCALAR))
            return status_make(STATUS_INTERNAL,
                               "the program's plan: setting %s refers to tensor %d, which is no scalar (this "
                               "is a bug in stmc)",
                               plan->setting[s].name, scalar);
    }
    *out_plan = plan;
    return STATUS_OK;
}

size_t type_size(StmType type) {
    switch (type) {
    case STM_F32:
    case STM_I32: return 4;
    case STM_F64:
    case STM_I64: return 8;
    case STM_U8:
    case STM_BOOL: return 1;
    case STM_BF16: return 2;
    }
    return 0;
}

const char *type_name(StmType type) {
    return type_names[type];
}

const StmJob *plan_job(const StmPlan *plan, const char *name) {
    for (int j = 0; j < plan->jobs; j++)
        if (strcmp(plan->job[j].name, name) == 0) return &plan->job[j];
    return NULL;
}

int plan_tensor(const StmPlan *plan, StmTensorKind kind, const char *name) {
    for (int t = 0; t < plan->tensors; t++)
        if (plan->tensor[t].kind == kind && strcmp(plan->tensor[t].name, name) == 0) return t;
    return -1;
}

int plan_axis(const StmPlan *plan, const char *name) {
    return find_axis(plan, name, strlen(name));
}

const StmSetting *plan_setting(const StmPlan *plan, const char *name) {
    for (int s = 0; s < plan->settings; s++)
        if (strcmp(plan->setting[s].name, name) == 0) return &plan->setting[s];
    return NULL;
}

int job_output(const StmJob *job, const char *name) {
    for (int o = 0; job && o < job->outputs; o++)
        if (strcmp(job->output[o].name, name) == 0) return o;
    return -1;
}

bool job_uses(const StmJob *job, int tensor) {
    for (int b = 0; job && b < job->buffers; b++)
        if (job->buffer[b].tensor == tensor) return true;
    return false;
}

int64_t extent_of(StmExtent extent, const int64_t *value) {
    return extent.axis < 0 ? extent.count : extent.count * value[extent.axis];
}

int64_t tensor_elements(const StmTensor *tensor, const int64_t *value) {
    int64_t count = 1;
    for (int d = 0; d < tensor->rank; d++) count *= extent_of(tensor->dim[d], value);
    return count;
}

void axis_counts(const StmPlan *plan, int64_t *value) {
    for (int a = 0; a < plan->axes; a++) value[a] = plan->axis[a].count;
}

int64_t job_arena_bytes(const StmJob *job, const int64_t *value) {
    int64_t sum = 0;
    for (int g = 0; g < job->groups; g++) {
        const StmGroup *group = &job->group[g];
        int64_t at[2];
        for (int k = 0; k < 2; k++) at[k] = group->axis[k] >= 0 ? value[group->axis[k]] : 1;
        sum += group->bytes * stm_group_units(group, at[0], at[1]);
    }
    return sum;
}

const char *shape_text(const StmPlan *plan, const StmTensor *tensor, char text[SHAPE_TEXT]) {
    size_t at = 0;
    text[0] = '\0';
    for (int d = 0; d < tensor->rank && at < SHAPE_TEXT; d++) {
        StmExtent dim = tensor->dim[d];
        const char *axis = dim.axis >= 0 ? plan->axis[dim.axis].name : NULL;
        int n;
        if (axis && dim.count == 1) n = snprintf(text + at, SHAPE_TEXT - at, "%s%s", d ? ", " : "", axis);
        else if (axis) n = snprintf(text + at, SHAPE_TEXT - at, "%s%lld*%s", d ? ", " : "", (long long)dim.count, axis);
        else n = snprintf(text + at, SHAPE_TEXT - at, "%s%lld", d ? ", " : "", (long long)dim.count);
        at += (size_t)n;
    }
    return text;
}
