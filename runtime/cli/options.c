// options: see options.h.
#include "options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../core/strings.h"

#define BIT(command) (1u << (command))

enum {
    ON_DATA = BIT(COMMAND_TRAIN) | BIT(COMMAND_PREDICT) | BIT(COMMAND_EVALUATE) | BIT(COMMAND_EMBED),
    ON_RUN = ON_DATA | BIT(COMMAND_BENCH) | BIT(COMMAND_TEST),
    ON_WEIGHTS = BIT(COMMAND_PREDICT) | BIT(COMMAND_EVALUATE) | BIT(COMMAND_EMBED),
    ON_OUTPUT = BIT(COMMAND_PREDICT) | BIT(COMMAND_EMBED),
    ON_SETTINGS = ON_RUN | BIT(COMMAND_PREPARE),
};

typedef enum FlagKind { FLAG_SWITCH, FLAG_TEXT, FLAG_LIST, FLAG_INTEGER, FLAG_INTERVAL } FlagKind;

typedef struct Flag {
    const char *name, *value; // value: what --help calls it
    FlagKind kind;
    unsigned commands;
    size_t at;         // member of Options
    int64_t low, high; // FLAG_INTEGER
    const char *doc;
} Flag;

#define MEMBER(name) offsetof(Options, name)

static const Flag flags[] = {
    {"from", "DIR|FILE", FLAG_TEXT, BIT(COMMAND_PREPARE), MEMBER(from), 0, 0, "the original data"},
    {"out", "FILE", FLAG_TEXT, BIT(COMMAND_PREPARE), MEMBER(out), 0, 0, "store to write (HDF5)"},
    {"out", "DIR", FLAG_TEXT, BIT(COMMAND_TRAIN), MEMBER(out), 0, 0, "directory of the run: weights, metrics, curves"},
    {"out", "FILE", FLAG_TEXT, ON_OUTPUT, MEMBER(out), 0, 0, "result: FILE.h5ad or FILE.csv"},
    {"weights", "FILE", FLAG_TEXT, ON_WEIGHTS, MEMBER(weights), 0, 0,
     "weights, e.g. RUN/best.safetensors; also PyTorch's .pt and .pth, .npz"},
    {"weights", "FILE", FLAG_TEXT, BIT(COMMAND_TRAIN), MEMBER(weights), 0, 0,
     "start from these weights (safetensors, .pt, .pth, .npz) instead of random ones"},
    {"hold-out", "SECTION[,SECTION]", FLAG_LIST, BIT(COMMAND_TRAIN), MEMBER(hold_out), 0, 0, "sections for validation"},
    {"split", "NAME", FLAG_TEXT, BIT(COMMAND_TRAIN), MEMBER(split), 0, 0,
     "split of the store: its part train trains, its part validation validates"},
    {"split", "NAME:PART", FLAG_TEXT, ON_WEIGHTS, MEMBER(split), 0, 0,
     "only this part of a split, such as by_patient:test"},
    {"section", "SECTION[,SECTION]", FLAG_LIST, ON_WEIGHTS | BIT(COMMAND_PREPARE), MEMBER(section), 0, 0,
     "only these sections (default: all)"},
    {"depth", "NAME[,NAME]", FLAG_LIST, BIT(COMMAND_PREPARE), MEMBER(depth), 0, 0,
     "these tables of proportions, and their ranks, instead of those that the spec names"},
    {"image", "FILE", FLAG_TEXT, BIT(COMMAND_PREPARE), MEMBER(image), 0, 0,
     "picture of the only section (default: where its layout has it)"},
    {"append", NULL, FLAG_SWITCH, BIT(COMMAND_PREPARE), MEMBER(append), 0, 0, "add the sections to the store --out"},
    {"seed", "N", FLAG_INTEGER, BIT(COMMAND_TRAIN), MEMBER(seed), 0, UINT32_MAX, "of everything random (default 0)"},
    {"epochs", "N", FLAG_INTEGER, BIT(COMMAND_TRAIN), MEMBER(epochs), 1, INT32_MAX, "passes over the training data"},
    {"batch", "N", FLAG_INTEGER, ON_DATA | BIT(COMMAND_BENCH), MEMBER(batch), 1, INT32_MAX, "rows of a step"},
    {"resume", NULL, FLAG_SWITCH, BIT(COMMAND_TRAIN), MEMBER(resume), 0, 0,
     "continue the run in --out; starts it if there is none"},
    {"overwrite", NULL, FLAG_SWITCH, BIT(COMMAND_TRAIN), MEMBER(overwrite), 0, 0, "replace a run that --out holds"},
    {"checkpoint-every", "N|Ns", FLAG_INTERVAL, BIT(COMMAND_TRAIN), 0, 0, 0,
     "keep the weights of every N-th epoch (5), or save within an epoch every N seconds (60s; default 300s)"},
    {"map", "FILE|none", FLAG_TEXT, ON_OUTPUT, MEMBER(map), 0, 0, "spatial map (PNG; default: beside --out)"},
    {"json", NULL, FLAG_SWITCH, BIT(COMMAND_EVALUATE) | BIT(COMMAND_INFO) | BIT(COMMAND_BENCH), MEMBER(json), 0, 0,
     "machine-readable result"},
    {"plan", NULL, FLAG_SWITCH, BIT(COMMAND_INFO), MEMBER(plan), 0, 0, "print the compiled plan"},
    {"steps", "N", FLAG_INTEGER, BIT(COMMAND_BENCH), MEMBER(steps), 1, 1000000,
     "steps to time (default: one second's worth)"},
    {"interactive", NULL, FLAG_SWITCH, BIT(COMMAND_BENCH), MEMBER(interactive), 0, 0,
     "read lines 'train K' and 'infer K', answer with JSON"},
    {"profile", NULL, FLAG_SWITCH, ON_RUN & ~BIT(COMMAND_TEST), MEMBER(profile), 0, 0,
     "print the time of every kernel at the end"},
    {"threads", "N", FLAG_INTEGER, ON_SETTINGS, MEMBER(threads), 1, 1024,
     "CPU threads (default: all that may be used)"},
    {"device", "auto|cpu|cuda[:N]", FLAG_TEXT, ON_RUN, MEMBER(device), 0, 0,
     "where to compute (default auto: the first usable GPU, else the CPU)"},
    {"device", "cpu|cuda", FLAG_TEXT, BIT(COMMAND_INFO), MEMBER(device), 0, 0,
     "whose plan --plan prints (default cpu)"},
    {"help", NULL, FLAG_SWITCH, ~0u, MEMBER(help), 0, 0, "this text"},
};
enum { FLAGS = sizeof flags / sizeof *flags };

typedef struct CommandInfo {
    const char *name, *arguments, *doc;
} CommandInfo;

static const CommandInfo command_info[COMMANDS] = {
    [COMMAND_NONE] = {"", "", ""},
    [COMMAND_PREPARE] = {"prepare", "--from DIR|FILE --out FILE.h5", "turn original data into a store"},
    [COMMAND_TRAIN] = {"train", "FILE.h5... --out DIR", "train on the sections of one or more stores"},
    [COMMAND_PREDICT] = {"predict", "FILE.h5 --weights W --out FILE.(h5ad|csv)", "predict for every spot"},
    [COMMAND_EVALUATE] = {"evaluate", "FILE.h5 --weights W", "loss and metrics against the truth in a store"},
    [COMMAND_EMBED] = {"embed", "FILE.h5 --weights W --out FILE.(h5ad|csv)",
                       "write the model's features for every spot"},
    [COMMAND_INFO] = {"info", "", "axes, parameters, memory, targets"},
    [COMMAND_BENCH] = {"bench", "", "time steps on synthetic inputs"},
    [COMMAND_TEST] = {"test", "", "run the tests of the spec"},
};

// FLAG_LIST finds the length of a list behind its pointer.
_Static_assert(MEMBER(hold_out_n) == MEMBER(hold_out) + sizeof(char **) &&
                   MEMBER(section_n) == MEMBER(section) + sizeof(char **) &&
                   MEMBER(depth_n) == MEMBER(depth) + sizeof(char **),
               "a list's length follows its pointer");

const char *command_name(Command command) {
    return command_info[command].name;
}

const char *command_doc(Command command) {
    return command_info[command].doc;
}

bool command_exists(const StmPlan *plan, Command command, const char **why) {
    static const char *const needed[COMMANDS] = {[COMMAND_TRAIN] = "train",
                                                 [COMMAND_PREDICT] = "predict",
                                                 [COMMAND_EVALUATE] = "evaluate",
                                                 [COMMAND_EMBED] = "embed"};
    const char *reason = NULL;
    bool tests = false;
    for (int j = 0; j < plan->jobs; j++)
        tests = tests || strncmp(plan->job[j].name, "test:", 5) == 0 || strncmp(plan->job[j].name, "gradient:", 9) == 0;
    if (needed[command] && !plan_job(plan, needed[command])) reason = needed[command];
    if (command == COMMAND_PREPARE && plan->prepares == 0) reason = "prepare";
    if (command == COMMAND_TEST && !tests) reason = "test";
    if (why) *why = reason;
    return command != COMMAND_NONE && !reason;
}

static Status read_command(const StmPlan *plan, const char *word, Command *out) {
    const char *names[COMMANDS], *why = NULL;
    size_t count = 0;
    for (int c = 1; c < COMMANDS; c++) {
        if (strcmp(word, command_info[c].name) == 0) {
            *out = (Command)c;
            if (command_exists(plan, *out, &why)) return STATUS_OK;
            return status_make(STATUS_INVALID, "%s has no command %s: its spec has no %s block", plan->name, word, why);
        }
        if (command_exists(plan, (Command)c, NULL)) names[count++] = command_info[c].name;
    }
    const char *near = closest_name(word, names, count);
    Text list = {0};
    for (size_t i = 0; i < count; i++) text_printf(&list, " %s", names[i]);
    Status status =
        near ? status_make(STATUS_INVALID, "there is no command %s; did you mean %s?", word, near)
             : status_make(STATUS_INVALID, "there is no command %s; the commands are:%s", word, text_string(&list));
    text_free(&list);
    return status;
}

static const Flag *find_flag(Command command, const char *name, size_t length) {
    for (int f = 0; f < FLAGS; f++)
        if (strlen(flags[f].name) == length && memcmp(flags[f].name, name, length) == 0 &&
            (flags[f].commands & BIT(command)))
            return &flags[f];
    return NULL;
}

// Settings answer to their name with '-' or '_'.
static int find_setting(const StmPlan *plan, const char *name, size_t length) {
    for (int s = 0; s < plan->settings; s++) {
        const char *own = plan->setting[s].name;
        if (strlen(own) != length) continue;
        size_t i = 0;
        while (i < length && (own[i] == name[i] || (own[i] == '_' && name[i] == '-'))) i++;
        if (i == length) return s;
    }
    return -1;
}

static bool takes_settings(Command command) {
    return (ON_SETTINGS & BIT(command)) != 0;
}

static Status unknown_flag(const StmPlan *plan, const char *executable, Command command, const char *name) {
    const char *names[FLAGS + 64];
    size_t count = 0;
    for (int f = 0; f < FLAGS; f++)
        if (flags[f].commands & BIT(command)) names[count++] = flags[f].name;
    for (int s = 0; s < plan->settings && count < FLAGS + 64 && takes_settings(command); s++)
        names[count++] = plan->setting[s].name;
    const char *near = closest_name(name, names, count);
    if (near)
        return status_make(STATUS_INVALID, "%s has no flag --%s; did you mean --%s?", command_name(command), name,
                           near);
    for (int f = 0; f < FLAGS; f++)
        if (strcmp(flags[f].name, name) == 0)
            return status_make(STATUS_INVALID, "--%s does not go with %s", name, command_name(command));
    return status_make(STATUS_INVALID, "%s has no flag --%s; '%s %s --help' lists them", command_name(command), name,
                       executable, command_name(command));
}

// Adds the parts of a comma-separated list.
static Status add_list(Session *session, const char *value, const char *name, const char ***list, int *count) {
    for (const char *start = value;; start++) {
        const char *end = strchr(start, ',');
        size_t n = end ? (size_t)(end - start) : strlen(start);
        if (n == 0) return status_make(STATUS_INVALID, "--%s %s: a name is empty", name, value);
        const char **longer = NULL;
        char *copy = NULL;
        TRY(ARENA_NEW(&session->arena, longer, (size_t)*count + 1));
        TRY(ARENA_COPY(&session->arena, copy, start, n));
        if (*count) memcpy(longer, *list, (size_t)*count * sizeof *longer);
        longer[(*count)++] = copy;
        *list = longer;
        if (!end) return STATUS_OK;
        start = end;
    }
}

static Status read_interval(const char *value, Options *out) {
    size_t n = strlen(value);
    static const struct {
        char unit;
        double seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
    for (int u = 0; u < 3; u++) {
        if (n < 2 || value[n - 1] != units[u].unit) continue;
        double number;
        if (!parse_f64(value, n - 1, &number) || !(number > 0)) break;
        out->checkpoint_seconds = number * units[u].seconds;
        return STATUS_OK;
    }
    if (parse_i64(value, n, &out->checkpoint_epochs) && out->checkpoint_epochs >= 1) return STATUS_OK;
    return status_make(STATUS_INVALID, "--checkpoint-every %s: give a number of epochs (5) or a time (90s, 10m, 1h)",
                       value);
}

static Status set_flag(Session *session, const Flag *flag, const char *value, Options *out) {
    char *member = (char *)out + flag->at;
    switch (flag->kind) {
    case FLAG_SWITCH: *(bool *)(void *)member = true; return STATUS_OK;
    case FLAG_TEXT:
        if (!*value) return status_make(STATUS_INVALID, "--%s: the value is empty", flag->name);
        *(const char **)(void *)member = value;
        return STATUS_OK;
    case FLAG_LIST:
        // The list's length follows its pointer in Options.
        return add_list(session, value, flag->name, (const char ***)(void *)member,
                        (int *)(void *)(member + sizeof(char **)));
    case FLAG_INTEGER: {
        int64_t number;
        if (!parse_i64(value, strlen(value), &number) || number < flag->low || number > flag->high)
            return status_make(STATUS_INVALID, "--%s %s: a whole number from %lld to %lld is needed", flag->name, value,
                               (long long)flag->low, (long long)flag->high);
        *(int64_t *)(void *)member = number;
        return STATUS_OK;
    }
    case FLAG_INTERVAL: return read_interval(value, out);
    }
    return STATUS_OK;
}

static Status set_setting(Session *session, int index, const char *value) {
    const StmSetting *setting = &session->plan->setting[index];
    session->setting_given[index] = true;
    if (setting->is_text) {
        session->setting_text[index] = value;
        return STATUS_OK;
    }
    double number;
    const char *kind = setting->is_integer ? "a whole number" : "a number";
    if (!parse_f64(value, strlen(value), &number) || !isfinite(number) ||
        (setting->is_integer && number != floor(number)))
        return status_make(STATUS_INVALID, "--%s %s: %s is needed", setting->name, value, kind);
    char low[NUMBER_TEXT], high[NUMBER_TEXT];
    number_f64(setting->low, low);
    number_f64(setting->high, high);
    if (setting->ranged && (number < setting->low || number > setting->high))
        return status_make(STATUS_INVALID, "--%s %s: %s from %s to %s is needed", setting->name, value, kind, low,
                           high);
    session->setting[index] = number;
    return STATUS_OK;
}

static Status read_flag(Session *session, int argc, char **argv, int *at, Options *out) {
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const Flag *flag = find_flag(out->command, name, length);
    int setting = flag || !takes_settings(out->command) ? -1 : find_setting(session->plan, name, length);
    if (!flag && setting < 0) {
        char *copy = NULL;
        TRY(ARENA_COPY(&session->arena, copy, name, length));
        return unknown_flag(session->plan, argv[0], out->command, copy);
    }
    if (flag && flag->kind == FLAG_SWITCH) {
        if (equals) return status_make(STATUS_INVALID, "--%s takes no value", flag->name);
        return set_flag(session, flag, NULL, out);
    }
    const char *value = equals ? equals + 1 : *at + 1 < argc ? argv[++*at] : NULL;
    // "--out --resume" is a forgotten value; "--lr -1" is a number.
    if (!value || (!equals && value[0] == '-' && value[1] == '-'))
        return status_make(STATUS_INVALID, "--%.*s needs a value (%s)", (int)length, name,
                           flag ? flag->value : "VALUE");
    return flag ? set_flag(session, flag, value, out) : set_setting(session, setting, value);
}

static Status check_device(const Session *session, const char *device) {
    int64_t number = 0;
    if (!device || strcmp(device, "auto") == 0 || strcmp(device, "cpu") == 0) return STATUS_OK;
    if (strncmp(device, "cuda", 4) == 0 && (device[4] == '\0' || device[4] == ':')) {
        if (!session->has_cuda)
            return status_make(STATUS_INVALID,
                               "--device %s: this executable holds code for the CPU only; use --device cpu, or compile "
                               "it with --target cpu,cuda",
                               device);
        if (device[4] == '\0' || (parse_i64(device + 5, strlen(device + 5), &number) && number >= 0 && number < 1024))
            return STATUS_OK;
        return status_make(STATUS_INVALID, "--device %s: the number of a GPU follows cuda:, such as cuda:0", device);
    }
    return status_make(STATUS_INVALID, "--device %s: the devices are auto, cpu and cuda[:N]", device);
}

static Status check_ending(const char *path) {
    if (string_ends_with(path, ".h5ad") || string_ends_with(path, ".csv")) return STATUS_OK;
    return status_make(STATUS_INVALID, "--out %s: the name must end in .h5ad or .csv", path);
}

// train names a split, the others one part of it.
static Status check_split(const Options *o) {
    if (!o->split) return STATUS_OK;
    const char *colon = strchr(o->split, ':');
    if (o->command == COMMAND_TRAIN && o->hold_out_n)
        return status_make(STATUS_INVALID, "--split and --hold-out exclude each other: both say what validates");
    if (o->command == COMMAND_TRAIN && colon)
        return status_make(STATUS_INVALID, "--split %s: train takes the whole split; give --split %.*s", o->split,
                           (int)(colon - o->split), o->split);
    if (o->command != COMMAND_TRAIN && (!colon || colon == o->split || !colon[1]))
        return status_make(STATUS_INVALID, "--split %s: give the split and its part, such as --split %.*s:test",
                           o->split, colon ? (int)(colon - o->split) : (int)strlen(o->split), o->split);
    return STATUS_OK;
}

static Status need(const Options *o, const char *flag, const char *value) {
    if (value) return STATUS_OK;
    return status_make(STATUS_INVALID, "%s needs --%s; usage: %s %s", command_name(o->command), flag,
                       command_name(o->command), command_info[o->command].arguments);
}

static Status check_complete(const Session *session, const Options *o) {
    TRY(check_device(session, o->device));
    unsigned bit = BIT(o->command);
    if (bit & ON_DATA) {
        if (o->files_n == 0)
            return status_make(STATUS_INVALID, "%s needs a store; usage: %s %s", command_name(o->command),
                               command_name(o->command), command_info[o->command].arguments);
        if (o->files_n > 1 && (bit & ON_OUTPUT))
            return status_make(STATUS_INVALID, "%s takes one store; '%s' is too many", command_name(o->command),
                               o->files[1]);
    } else if (o->files_n) {
        return status_make(STATUS_INVALID, "%s takes no argument '%s'", command_name(o->command), o->files[0]);
    }
    if (bit & (ON_OUTPUT | BIT(COMMAND_TRAIN) | BIT(COMMAND_PREPARE))) TRY(need(o, "out", o->out));
    if (bit & BIT(COMMAND_PREPARE)) TRY(need(o, "from", o->from));
    if (bit & ON_WEIGHTS) TRY(need(o, "weights", o->weights));
    if (bit & ON_OUTPUT) TRY(check_ending(o->out));
    TRY(check_split(o));
    if (o->map && strcmp(o->map, "none") != 0 && !string_ends_with(o->map, ".png"))
        return status_make(STATUS_INVALID, "--map %s: the name must end in .png (or be none)", o->map);
    if (o->resume && o->overwrite) return status_make(STATUS_INVALID, "--resume and --overwrite exclude each other");
    return STATUS_OK;
}

Status options_read(Session *session, int argc, char **argv, Options *out) {
    *out = (Options){.seed = 0, .epochs = -1, .batch = -1, .steps = -1, .threads = 0, .checkpoint_seconds = 300};
    TRY(ARENA_NEW(&session->arena, out->files, (size_t)argc + 1));
    if (argc < 2)
        return status_make(STATUS_INVALID, "a command is needed; '%s --help' lists them", argc ? argv[0] : "EXE");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        out->help = true;
        return argc > 2 && argv[2][0] != '-' ? read_command(session->plan, argv[2], &out->command) : STATUS_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        out->version = true;
        return STATUS_OK;
    }
    TRY(read_command(session->plan, argv[1], &out->command));
    bool only_files = false;
    for (int i = 2; i < argc; i++) {
        const char *word = argv[i];
        if (only_files || word[0] != '-' || word[1] == '\0') out->files[out->files_n++] = word;
        else if (strcmp(word, "--") == 0) only_files = true;
        else if (strcmp(word, "-h") == 0) out->help = true;
        else if (word[1] != '-')
            return status_make(STATUS_INVALID, "there is no flag %s; flags start with two dashes", word);
        else TRY(read_flag(session, argc, argv, &i, out));
    }
    return out->help ? STATUS_OK : check_complete(session, out);
}

// One line of a flag list, the text wrapped at column 100.
static void flag_line(Text *text, const char *left, const char *doc) {
    enum { COLUMN = 34, WIDTH = 100 };
    int at = 2 + (int)strlen(left);
    text_printf(text, "  %s", left);
    if (at >= COLUMN) {
        text_add(text, "\n");
        at = 0;
    }
    text_printf(text, "%*s", COLUMN - at, "");
    at = COLUMN;
    while (*doc) {
        size_t n = strcspn(doc, " ");
        if (at + (int)n > WIDTH && at > COLUMN) {
            text_printf(text, "\n%*s", COLUMN, "");
            at = COLUMN;
        }
        text_append(text, doc, n);
        at += (int)n;
        doc += n;
        while (*doc == ' ') doc++;
        if (*doc) text_add(text, " "), at++;
    }
    text_add(text, "\n");
}

static void settings_write(const Session *session, Text *text) {
    const StmPlan *plan = session->plan;
    if (plan->settings) text_add(text, "\nSettings of the model:\n");
    for (int i = 0; i < plan->settings; i++) {
        const StmSetting *s = &plan->setting[i];
        char left[160], number[NUMBER_TEXT], low[NUMBER_TEXT], high[NUMBER_TEXT];
        Text doc = {0};
        snprintf(left, sizeof left, "--%.100s %s", s->name, s->is_text ? "TEXT" : s->is_integer ? "N" : "X");
        number_f64(s->value, number);
        number_f64(s->low, low);
        number_f64(s->high, high);
        if (s->doc) text_printf(&doc, "%s ", s->doc);
        text_printf(&doc, "(default %s", s->is_text ? (s->text ? s->text : "empty") : number);
        if (s->ranged) text_printf(&doc, ", %s to %s", low, high);
        text_add(&doc, ")");
        flag_line(text, left, text_string(&doc));
        text_free(&doc);
    }
}

static void command_help(const Session *session, const char *executable, Command command, Text *text) {
    const StmPlan *plan = session->plan;
    text_printf(text, "%s %s %s\n  %s\n\nFlags:\n", executable, command_name(command), command_info[command].arguments,
                command_doc(command));
    for (int f = 0; f < FLAGS; f++) {
        if (!(flags[f].commands & BIT(command))) continue;
        char left[96];
        Text doc = {0};
        snprintf(left, sizeof left, "--%s%s%s", flags[f].name, flags[f].value ? " " : "",
                 flags[f].value ? flags[f].value : "");
        text_add(&doc, flags[f].doc);
        if (strcmp(flags[f].name, "epochs") == 0) text_printf(&doc, " (default %lld)", (long long)plan->train.epochs);
        if (strcmp(flags[f].name, "batch") == 0) {
            int64_t bound = session->batch_axis >= 0 ? plan->axis[session->batch_axis].count : 1;
            bool train = command == COMMAND_TRAIN || command == COMMAND_BENCH;
            text_printf(&doc, " (default %lld)", (long long)(train && plan->train.batch ? plan->train.batch : bound));
        }
        flag_line(text, left, text_string(&doc));
        text_free(&doc);
    }
    if (takes_settings(command)) settings_write(session, text);
}

void help_write(const Session *session, const char *executable, Command command, Text *text) {
    const StmPlan *plan = session->plan;
    if (command != COMMAND_NONE) {
        command_help(session, executable, command, text);
        return;
    }
    text_printf(text, "%s%s%s\n\nUsage: %s COMMAND ...\n\nCommands:\n", plan->name, plan->doc ? ": " : "",
                plan->doc ? plan->doc : "", executable);
    for (int c = 1; c < COMMANDS; c++) {
        if (!command_exists(plan, (Command)c, NULL)) continue;
        char left[96];
        snprintf(left, sizeof left, "%s %s", command_info[c].name, command_info[c].arguments);
        flag_line(text, left, command_info[c].doc);
    }
    text_printf(text, "\n'%s COMMAND --help' lists the flags of a command.\n", executable);
    settings_write(session, text);
    text_printf(text, "\nCompiled by stmc %s.\n", plan->version);
}
