// stmdata_text: what inspect says about text files: gene sets (GMT), positions, scale factors, HEST-1k's table, tables
// of counts, and any other table with a header line.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../data/counts.h"
#include "../data/hest.h"
#include "../data/lines.h"
#include "../data/positions.h"
#include "../data/table.h"
#include "stmdata.h"

static Status inspect_positions(const char *path, Sheet *sheet) {
    SpotPositions p;
    Arena arena;
    PositionsCheck check;
    const ScaleFactors unknown = {NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    TRY(positions_read(path, &p));
    arena_init(&arena);
    Status status = positions_check(&p, &unknown, 0, 0, 1, &arena, &check);
    if (status == STATUS_OK) {
        sheet_title(sheet, path, "positions", p.source ? p.source : "positions");
        sheet_count(sheet, "spots", "spots", (int64_t)p.count);
        sheet_count(sheet, "in_tissue", "in tissue", (int64_t)p.n_in_tissue);
        sheet_number(sheet, "min_x", NULL, check.min_x, "");
        sheet_number(sheet, "min_y", NULL, check.min_y, "");
        sheet_number(sheet, "max_x", NULL, check.max_x, "");
        sheet_number(sheet, "max_y", NULL, check.max_y, "");
        if (check.spots)
            sheet_line(sheet, "pixels", "x %.6g to %.6g, y %.6g to %.6g", check.min_x, check.max_x, check.min_y,
                       check.max_y);
        sheet_number(sheet, "spacing", "spacing", check.spacing, "pixels to the next spot");
        sheet_notes(sheet, "warnings", "warnings", check.warning, check.n_warnings);
    }
    arena_free(&arena);
    positions_free(&p);
    return status;
}

static Status inspect_scales(const char *path, Sheet *sheet) {
    ScaleFactors f;
    TRY(scale_factors_read(path, &f));
    sheet_title(sheet, path, "scale factors", "scale factors of Space Ranger");
    sheet_number(sheet, "spot_diameter_fullres", "spot diameter", f.spot_diameter_fullres, "pixels");
    sheet_number(sheet, "fiducial_diameter_fullres", "fiducials", f.fiducial_diameter_fullres, "pixels");
    sheet_number(sheet, "tissue_hires_scalef", "hires scale", f.tissue_hires_scalef, "");
    sheet_number(sheet, "tissue_lowres_scalef", "lowres scale", f.tissue_lowres_scalef, "");
    sheet_number(sheet, "regist_target_img_scalef", "target scale", f.regist_target_img_scalef, "");
    sheet_number(sheet, "microns_per_pixel", "pixel", f.microns_per_pixel, "µm");
    sheet_number(sheet, "bin_size_um", "bin", f.bin_size_um, "µm");
    return STATUS_OK;
}

static Status inspect_hest_table(const char *path, Sheet *sheet) {
    HestTree tree;
    TRY(hest_table_read(path, &tree));
    sheet_title(sheet, path, "samples", "metadata table of HEST-1k");
    sheet_count(sheet, "samples", "samples", (int64_t)tree.count);
    hest_free(&tree);
    return STATUS_OK;
}

// ---- Gene sets ----------------------------------------------------------------------------------

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef struct GeneSets {
    Arena arena;
    char **gene; // of all sets, one after the other
    size_t n_genes, capacity;
    size_t sets, smallest, largest;
    char *smallest_name, *largest_name;
} GeneSets;

static Status add_set(GeneSets *g, const char *path, size_t line, char *text) {
    char *name = text, *tab = strchr(text, '\t');
    char *field = tab ? strchr(tab + 1, '\t') : NULL;
    size_t size = 0;
    if (!field)
        return status_make(STATUS_MALFORMED,
                           "%s:%zu: a gene set needs a name, a description and genes, separated by tabs", path, line);
    *tab = 0;
    char *copy = NULL;
    TRY(ARENA_COPY(&g->arena, copy, name, strlen(name)));
    while (field) {
        char *gene = field + 1;
        field = strchr(gene, '\t');
        if (field) *field = 0;
        if (!*gene) continue;
        if (g->n_genes == g->capacity) {
            size_t capacity = g->capacity ? 2 * g->capacity : 1024;
            char **more = realloc(g->gene, capacity * sizeof *more);
            if (!more) return arena_exhausted(capacity, sizeof *more);
            g->gene = more;
            g->capacity = capacity;
        }
        TRY(ARENA_COPY(&g->arena, g->gene[g->n_genes], gene, strlen(gene)));
        g->n_genes++;
        size++;
    }
    if (g->sets == 0 || size < g->smallest) g->smallest = size, g->smallest_name = copy;
    if (g->sets == 0 || size > g->largest) g->largest = size, g->largest_name = copy;
    g->sets++;
    return STATUS_OK;
}

static Status inspect_gene_sets(const char *path, Sheet *sheet) {
    LineReader *reader = NULL;
    GeneSets g = {0};
    char *line = NULL;
    size_t length = 0, distinct = 0;
    TRY(lines_open(path, &reader));
    arena_init(&g.arena);
    Status status = lines_next(reader, &line, &length);
    while (status == STATUS_OK && line) {
        if (length) status = add_set(&g, path, lines_number(reader), line);
        if (status == STATUS_OK) status = lines_next(reader, &line, &length);
    }
    if (status == STATUS_OK && g.sets == 0) status = status_make(STATUS_MALFORMED, "%s: no gene sets in it", path);
    if (status == STATUS_OK) {
        size_t members = g.n_genes;
        if (members) qsort(g.gene, members, sizeof *g.gene, by_text);
        for (size_t i = 0; i < members; i++) distinct += i == 0 || strcmp(g.gene[i], g.gene[i - 1]) != 0;
        sheet_title(sheet, path, "gene sets", "gene sets (GMT)");
        sheet_count(sheet, "sets", "sets", (int64_t)g.sets);
        sheet_count(sheet, "members", "members", (int64_t)members);
        sheet_count(sheet, "genes", "genes", (int64_t)distinct);
        sheet_line(sheet, "sizes", "%zu (%s) to %zu (%s)", g.smallest, g.smallest_name, g.largest, g.largest_name);
        sheet_count(sheet, "smallest", NULL, (int64_t)g.smallest);
        sheet_count(sheet, "largest", NULL, (int64_t)g.largest);
    }
    free(g.gene);
    arena_free(&g.arena);
    lines_close(reader);
    return status;
}

// ---- Tables -------------------------------------------------------------------------------------

typedef struct ColumnFacts {
    bool text;
    double least, most;
    char example[48];
} ColumnFacts;

static Status inspect_table(const char *path, char separator, Sheet *sheet) {
    static const char *const headers[] = {"column", "values", NULL};
    TableReader table;
    TRY(table_open(&table, path, separator));
    ColumnFacts *facts = calloc(table.n_columns + 1, sizeof *facts);
    Status status = facts ? STATUS_OK : arena_exhausted(table.n_columns, sizeof *facts);
    size_t rows = 0;
    for (bool row = true; status == STATUS_OK;) {
        status = table_next(&table, &row);
        if (status != STATUS_OK || !row) break;
        for (size_t c = 0; c < table.n_columns; c++) {
            const Field *field = &table.fields[c];
            double value = 0;
            ColumnFacts *f = &facts[c];
            if (rows == 0) snprintf(f->example, sizeof f->example, "%.40s", field->text);
            if (!parse_f64(field->text, field->length, &value)) f->text = f->text || field->length > 0;
            else if (rows == 0) f->least = f->most = value;
            else if (value < f->least) f->least = value;
            else if (value > f->most) f->most = value;
        }
        rows++;
    }
    if (status == STATUS_OK) {
        sheet_title(sheet, path, "table", separator == ',' ? "table (CSV)" : "table (TSV)");
        sheet_count(sheet, "rows", "rows", (int64_t)rows);
        sheet_count(sheet, "columns", "columns", (int64_t)table.n_columns);
        size_t shown = sheet->json || table.n_columns <= 60 ? table.n_columns : 40;
        sheet_table(sheet, "column", "columns", headers);
        for (size_t c = 0; c < shown; c++) {
            char words[128];
            if (facts[c].text || rows == 0) snprintf(words, sizeof words, "text: %s ...", facts[c].example);
            else snprintf(words, sizeof words, "%.6g to %.6g", facts[c].least, facts[c].most);
            sheet_row(sheet);
            sheet_cell_text(sheet, "name", *table.columns[c] ? table.columns[c] : "(no name)");
            if (!sheet->json) sheet_cell_text(sheet, NULL, words);
            else sheet_cell_text(sheet, "kind", facts[c].text ? "text" : "number");
            sheet_row_end(sheet);
        }
        sheet_table_end(sheet);
        if (shown < table.n_columns) sheet_line(sheet, "", "and %zu more columns", table.n_columns - shown);
    }
    free(facts);
    table_close(&table);
    return status;
}

// "12x7", or "12x7x..." of some data sets
static bool like_spot(const char *text) {
    size_t digits = strspn(text, "0123456789"), more = digits ? strspn(text + digits + 1, "0123456789") : 0;
    return digits && text[digits] == 'x' && more && !text[digits + 1 + more];
}

// A table of counts: rows begin with a spot id, all else are whole numbers. Told by the first row.
static bool like_counts(const char *path, char separator) {
    TableReader table;
    bool row = false;
    Status status = table_open(&table, path, separator);
    if (status != STATUS_OK) {
        status_drop(status);
        return false;
    }
    status = table_next(&table, &row);
    bool counts = status == STATUS_OK && row && table.n_columns > 1 && like_spot(table.fields[0].text);
    for (size_t c = 1; counts && c < table.n_columns; c++)
        counts = strspn(table.fields[c].text, "0123456789") == table.fields[c].length && table.fields[c].length;
    status_drop(status);
    table_close(&table);
    return counts;
}

// Positions of Space Ranger (with or without header) and legacy ST's selection.
static bool like_positions(const char *line) {
    if (strncmp(line, "barcode,in_tissue,array_row,", 28) == 0 || strncmp(line, "x\ty\tnew_x\tnew_y\t", 16) == 0)
        return true;
    int commas = 0;
    for (const char *p = line; *p; p++) commas += *p == ',';
    const char *second = strchr(line, ',');
    return commas == 5 && second && (second[1] == '0' || second[1] == '1') && second[2] == ',';
}

static Status first_line(const char *path, Arena *arena, char **out_line) {
    LineReader *reader = NULL;
    char *line = NULL;
    size_t length = 0;
    *out_line = NULL;
    TRY(lines_open(path, &reader));
    Status status = lines_next(reader, &line, &length);
    if (status == STATUS_OK && line) status = ARENA_COPY(arena, *out_line, line, length);
    lines_close(reader);
    return status;
}

Status inspect_text(const Arguments *arguments, const char *path, Sheet *sheet) {
    FileLook look;
    Arena arena;
    char *line = NULL;
    TRY(look_at(path, &look));
    if (look == LOOK_PARQUET) return inspect_positions(path, sheet); // refused there, with the way out
    if (string_ends_with(path, ".json")) return inspect_scales(path, sheet);
    if (string_ends_with(path, ".h5") || string_ends_with(path, ".h5ad"))
        return inspect_counts(arguments, path, sheet); // says what is wrong or what to give instead
    arena_init(&arena);
    Status status = first_line(path, &arena, &line);
    const char *tab = status == STATUS_OK && line ? strchr(line, '\t') : NULL;
    const char *comma = status == STATUS_OK && line ? strchr(line, ',') : NULL;
    char separator = tab && (!comma || tab < comma || !string_ends_with(path, ".csv")) ? '\t' : ',';
    MexPart part = status == STATUS_OK && line ? mex_part(line) : MEX_NONE;
    if (status != STATUS_OK) status = status_context(status, "no format is recognised; as text");
    else if (part != MEX_NONE) status = inspect_mex_part(path, part, sheet);
    else if (!line || (!tab && !comma) || !valid_utf8(line, strlen(line)))
        status = status_make(STATUS_UNSUPPORTED,
                             "%s: not recognised; inspect reads counts (10x HDF5 and matrix directories, Space Ranger, "
                             "AnnData, legacy ST, HEST-1k, Elucidata), pictures (TIFF, SVS, JPEG, PNG), weights "
                             "(safetensors, torch, NPY, NPZ), stores, GMT gene sets and tables (CSV, TSV)",
                             path);
    else if (string_ends_with(path, ".gmt")) status = inspect_gene_sets(path, sheet);
    else if (strncmp(path_base(path), "HEST_v", 6) == 0) status = inspect_hest_table(path, sheet);
    else if (like_positions(line)) status = inspect_positions(path, sheet);
    else if (like_counts(path, separator)) status = inspect_counts(arguments, path, sheet);
    else status = status_context(inspect_table(path, separator, sheet), "nothing else was recognised; as a table");
    arena_free(&arena);
    return status;
}
