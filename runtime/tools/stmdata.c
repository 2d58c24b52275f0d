// stmdata: the data room with a door of its own; it knows no model. Reads the command line, runs one command, and turns
// its Status into the exit status: 0 done, 1 data at fault, 2 command line, 3 environment, 70 a bug.
#include "stmdata.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef enum Flag {
    FLAG_JSON = 1,
    FLAG_OUT = 2,
    FLAG_LEVEL = 4,
    FLAG_FLAVOR = 8,
    FLAG_N = 16,
    FLAG_GENOME = 32,
    FLAG_SECTION = 64,
    FLAG_LAYER = 128,
    FLAG_DENSE = 256,
    FLAG_RADIUS = 512,
    FLAG_GENE = 1024,
    FLAG_COLUMN = 2048,
    FLAG_PALETTE = 4096,
    FLAG_LOG = 8192,
    FLAG_IMAGE = 16384,
} Flag;
enum { PARTS = FLAG_GENOME | FLAG_SECTION | FLAG_LAYER };

typedef struct Command {
    const char *name, *usage, *doc;
    int words; // beside flags
    int flags, needed;
    Status (*check)(const Arguments *arguments); // of values on the command line; NULL: none
    Status (*run)(const Arguments *arguments);
} Command;

static const Command commands[] = {
    {"inspect", "FILE|DIR [--json]", "what it is and what is in it", 1, FLAG_JSON | PARTS, 0, NULL, command_inspect},
    {"region", "IMAGE X Y W H [--level L] --out PNG", "a rectangle of a picture; X and Y in pixels of that level", 5,
     FLAG_LEVEL | FLAG_OUT, FLAG_OUT, check_region, command_region},
    {"hvg", "FILE|DIR --flavor seurat|seurat_v3 --n N --out CSV", "the most variable genes, as scanpy chooses them", 1,
     FLAG_FLAVOR | FLAG_N | FLAG_OUT | PARTS, FLAG_FLAVOR | FLAG_N | FLAG_OUT, check_hvg, command_hvg},
    {"convert", "FILE|DIR --out FILE.h5ad|FILE.csv|FILE.npz [--dense]",
     "counts with all that belongs to them as AnnData, or X as CSV or as SciPy's compressed rows", 1,
     FLAG_OUT | FLAG_DENSE | PARTS, FLAG_OUT, check_convert, command_convert},
    {"export", "DIR IMAGE --out DIR [--radius R] [--flavor F --n N]",
     "what DiSCoTME trains on: metadata.csv, image/*.jpg, genes/*.npy", 2,
     FLAG_OUT | FLAG_RADIUS | FLAG_FLAVOR | FLAG_N | PARTS, FLAG_OUT, check_export, command_export},
    {"map", "FILE|DIR --gene NAME|--column NAME [--log] [--image FILE] --out PNG",
     "a gene, or a column of obs, over the tissue", 1,
     FLAG_GENE | FLAG_COLUMN | FLAG_PALETTE | FLAG_LOG | FLAG_IMAGE | FLAG_OUT | PARTS, FLAG_OUT, check_map,
     command_map},
    {"check", "STORE", "reads all of a store and checks every promise", 1, 0, 0, NULL, command_check},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const struct {
    const char *name, *value, *doc;
    Flag flag;
} flags[] = {
    {"json", NULL, "one JSON object instead of lines", FLAG_JSON},
    {"out", "FILE", "what to write; it gets this name when it is complete", FLAG_OUT},
    {"level", "L", "level of the pyramid, 0 (default) the largest", FLAG_LEVEL},
    {"flavor", "NAME", "seurat: dispersion of ln(1 + counts per 10,000); seurat_v3: variance of counts", FLAG_FLAVOR},
    {"n", "N", "how many genes", FLAG_N},
    {"dense", NULL, "X as a dense array, zeros and all", FLAG_DENSE},
    {"radius", "R", "half the side of a patch in pixels; default: half a spot's diameter", FLAG_RADIUS},
    {"gene", "NAME", "the gene to draw, by symbol or id", FLAG_GENE},
    {"column", "NAME", "the column of obs to draw: numbers or categories", FLAG_COLUMN},
    {"palette", "NAME", "viridis (default), cividis or magma; categories have colours of their own", FLAG_PALETTE},
    {"log", NULL, "draw ln(1 + value)", FLAG_LOG},
    {"image", "FILE", "the tissue picture; default: the one that comes with the counts", FLAG_IMAGE},
    {"genome", "NAME", "the genome, in 10x files of several", FLAG_GENOME},
    {"section", "NAME", "the section, sample or slide, where there are several", FLAG_SECTION},
    {"layer", "NAME", "a layer of an AnnData file, or raw, in place of X", FLAG_LAYER},
};
enum { FLAGS = sizeof flags / sizeof *flags };

static void flag_help(int taken) {
    for (int f = 0; f < FLAGS; f++) {
        char left[32];
        if (!(flags[f].flag & taken)) continue;
        snprintf(left, sizeof left, "--%s%s%s", flags[f].name, flags[f].value ? " " : "",
                 flags[f].value ? flags[f].value : "");
        printf("  %-16s%s\n", left, flags[f].doc);
    }
}

static void help(const Command *command) {
    if (command) {
        printf("stmdata %s %s\n  %s\n", command->name, command->usage, command->doc);
        if (command->flags) printf("\nFlags:\n");
        flag_help(command->flags);
        return;
    }
    printf("stmdata looks into the data of spatial transcriptomics and takes pieces out of it.\n\nUsage:\n");
    for (int c = 0; c < COMMANDS; c++)
        printf("  stmdata %s %s\n      %s\n", commands[c].name, commands[c].usage, commands[c].doc);
    printf("\nFlags:\n");
    flag_help(~0);
    printf("  %-16s%s\n  %-16s%s\n", "--help", "this text; 'stmdata COMMAND --help': the flags of a command",
           "--version", "the version");
    printf("\nRead are: counts (10x HDF5 and matrix directories, Space Ranger, AnnData, legacy ST, HEST-1k,\n"
           "Elucidata), pictures (TIFF, SVS, JPEG, PNG), weights (safetensors, torch, NPY, NPZ), stores,\n"
           "positions, scale factors, GMT gene sets, tables. What a file is, its content tells, not its name.\n");
}

// ---- The command line ---------------------------------------------------------------------------

static Status no_such(const char *what, const char *name, const char *dashes, const char *const *names, size_t count) {
    const char *close = closest_name(name, names, count);
    if (close)
        return status_make(STATUS_INVALID, "there is no %s %s%s; did you mean %s%s?", what, dashes, name, dashes,
                           close);
    return status_make(STATUS_INVALID, "there is no %s %s%s; 'stmdata --help' lists them", what, dashes, name);
}

static Status find_command(const char *name, const Command **out) {
    const char *names[COMMANDS];
    for (int c = 0; c < COMMANDS; c++) {
        names[c] = commands[c].name;
        if (strcmp(name, names[c]) == 0) *out = &commands[c];
    }
    return *out ? STATUS_OK : no_such("command", name, "", names, COMMANDS);
}

static Status store_flag(Arguments *a, Flag flag, const char *value) {
    const char **place = NULL;
    switch (flag) {
    case FLAG_JSON: a->json = true; return STATUS_OK;
    case FLAG_DENSE: a->dense = true; return STATUS_OK;
    case FLAG_LOG: a->log = true; return STATUS_OK;
    case FLAG_GENE: place = &a->gene; break;
    case FLAG_COLUMN: place = &a->column; break;
    case FLAG_PALETTE: place = &a->palette; break;
    case FLAG_IMAGE: place = &a->image; break;
    case FLAG_OUT: place = &a->out; break;
    case FLAG_LEVEL: place = &a->level; break;
    case FLAG_FLAVOR: place = &a->flavor; break;
    case FLAG_N: place = &a->n; break;
    case FLAG_GENOME: place = &a->genome; break;
    case FLAG_SECTION: place = &a->section; break;
    case FLAG_LAYER: place = &a->layer; break;
    case FLAG_RADIUS: place = &a->radius; break;
    }
    *place = value;
    return STATUS_OK;
}

// argv[*i] begins with two dashes.
static Status read_flag(int argc, char **argv, int *i, const Command *command, int *given, Arguments *a) {
    const char *word = argv[*i] + 2, *equals = strchr(word, '='), *names[FLAGS];
    size_t length = equals ? (size_t)(equals - word) : strlen(word), count = 0;
    char name[64];
    if (strcmp(word, "help") == 0) {
        a->help = true;
        return STATUS_OK;
    }
    snprintf(name, sizeof name, "%.*s", (int)(length < 60 ? length : 60), word);
    for (int f = 0; f < FLAGS; f++) {
        if (!(flags[f].flag & command->flags)) continue;
        names[count++] = flags[f].name;
        if (strcmp(flags[f].name, name) != 0) continue;
        if (*given & (int)flags[f].flag) return status_make(STATUS_INVALID, "--%s is given twice", name);
        *given |= (int)flags[f].flag;
        if (!flags[f].value && equals) return status_make(STATUS_INVALID, "--%s takes no value", name);
        if (!flags[f].value) return store_flag(a, flags[f].flag, NULL);
        if (!equals && *i + 1 >= argc)
            return status_make(STATUS_INVALID, "--%s needs a value: --%s %s", name, name, flags[f].value);
        const char *value = equals ? equals + 1 : argv[++*i];
        if (!*value) return status_make(STATUS_INVALID, "--%s: the value is empty", name);
        return store_flag(a, flags[f].flag, value);
    }
    return no_such("flag", name, "--", names, count);
}

// A number such as -5 is no flag.
static bool like_flag(const char *word) {
    return word[0] == '-' && word[1] != 0 && strspn(word + 1, "0123456789") != strlen(word + 1);
}

static Status read_words(int argc, char **argv, const Command *command, Arguments *a) {
    int given = 0;
    bool only_words = false;
    for (int i = 2; i < argc; i++) {
        const char *word = argv[i];
        if (!only_words && strcmp(word, "--") == 0) only_words = true;
        else if (!only_words && strcmp(word, "-h") == 0) a->help = true;
        else if (!only_words && like_flag(word) && word[1] != '-')
            return status_make(STATUS_INVALID, "there is no flag %s; flags start with two dashes", word);
        else if (!only_words && like_flag(word)) TRY(read_flag(argc, argv, &i, command, &given, a));
        else if (a->n_words < command->words) a->words[a->n_words++] = word;
        else
            return status_make(STATUS_INVALID, "'%s' is too much; usage: stmdata %s %s", word, command->name,
                               command->usage);
    }
    if (a->help) return STATUS_OK;
    if (a->n_words < command->words)
        return status_make(STATUS_INVALID, "something is missing; usage: stmdata %s %s", command->name, command->usage);
    for (int f = 0; f < FLAGS; f++)
        if ((flags[f].flag & command->needed) && !(given & (int)flags[f].flag))
            return status_make(STATUS_INVALID, "--%s %s is missing; usage: stmdata %s %s", flags[f].name,
                               flags[f].value, command->name, command->usage);
    return STATUS_OK;
}

// ---- main ---------------------------------------------------------------------------------------

static int report(Status status, int code) {
    fflush(stdout);
    fprintf(stderr, "stmdata: error: %s\n", status_message(status));
    status_drop(status);
    return code;
}

int main(int argc, char **argv) {
    Arguments arguments = {0};
    const Command *command = NULL;
    signal(SIGPIPE, SIG_IGN); // a closed pipe is a write error with a message
    Status status = STATUS_OK;
    if (argc < 2) return report(status_make(STATUS_INVALID, "a command is needed; 'stmdata --help' lists them"), 2);
    if (strcmp(argv[1], "--version") == 0) {
        printf("stmdata %s\n", STMC_VERSION);
    } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help(NULL);
    } else {
        status = find_command(argv[1], &command);
        if (status == STATUS_OK) status = read_words(argc, argv, command, &arguments);
        if (status == STATUS_OK && !arguments.help && command->check) status = command->check(&arguments);
        if (status != STATUS_OK) return report(status, 2);
        if (arguments.help) help(command);
        else status = command->run(&arguments);
    }
    if (status == STATUS_OK && fflush(stdout) != 0) status = status_errno(errno, "cannot write to standard output");
    return status == STATUS_OK ? 0 : report(status, status_exit_code(status));
}
