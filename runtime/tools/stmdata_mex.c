// stmdata_mex: what inspect says about the parts of a 10x matrix directory when one of them is given alone: the list of
// barcodes, the list of features, the Matrix Market file. None of them has a header with names; all three are known by
// their first line.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "../data/lines.h"
#include "stmdata.h"

// "AAACAAGTATCTCCCA-1", "s_016um_00044_00076-1"
static bool like_barcode(const char *line) {
    size_t bases = strspn(line, "ACGTN");
    const char *rest = bases >= 8 ? line + bases : strncmp(line, "s_", 2) == 0 ? line + strcspn(line, "-\t, ") : NULL;
    if (!rest) return false;
    return *rest == 0 ? bases >= 8 : *rest == '-' && rest[1] && strspn(rest + 1, "0123456789") == strlen(rest + 1);
}

// "id TAB name TAB type", or genes.tsv's "id TAB name" with an Ensembl id.
static bool like_feature(const char *line) {
    static const char *const types[] = {"Gene Expression",      "Antibody Capture", "CRISPR Guide Capture",
                                        "Multiplexing Capture", "Custom",           "Peaks"};
    const char *name = strchr(line, '\t'), *type = name ? strchr(name + 1, '\t') : NULL;
    if (!name || name == line) return false;
    if (!type) {
        size_t letters = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        return strncmp(line, "ENS", 3) == 0 && strspn(line + letters, "0123456789") >= 6;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strncmp(type + 1, types[i], strlen(types[i])) == 0) return true;
    return false;
}

MexPart mex_part(const char *line) {
    if (strncmp(line, "%%MatrixMarket", 14) == 0) return MEX_MATRIX;
    if (like_barcode(line)) return MEX_BARCODES;
    return like_feature(line) ? MEX_FEATURES : MEX_NONE;
}

static Status inspect_list(const char *path, MexPart part, Sheet *sheet) {
    LineReader *reader = NULL;
    char *line = NULL;
    size_t length = 0, count = 0;
    TRY(lines_open(path, &reader));
    Status status = lines_next(reader, &line, &length);
    while (status == STATUS_OK && line) {
        if (mex_part(line) != part && (part == MEX_BARCODES || !strchr(line, '\t')))
            status = status_make(STATUS_MALFORMED, "%s:%zu: not a %s, as the lines before are", path,
                                 lines_number(reader), part == MEX_BARCODES ? "barcode" : "feature");
        count++;
        if (status == STATUS_OK) status = lines_next(reader, &line, &length);
    }
    lines_close(reader);
    TRY(status);
    sheet_title(sheet, path, part == MEX_BARCODES ? "barcodes" : "features",
                part == MEX_BARCODES ? "list of barcodes (10x matrix directory)"
                                     : "list of features (10x matrix directory)");
    sheet_count(sheet, part == MEX_BARCODES ? "barcodes" : "features", part == MEX_BARCODES ? "barcodes" : "features",
                (int64_t)count);
    return STATUS_OK;
}

typedef struct MarketFile {
    int64_t rows, columns, entries; // as announced
    int64_t read, nnz;
    double sum;
} MarketFile;

// The next whole number of a line; *line moves behind it.
static bool next_number(const char **line, int64_t *out) {
    *line += strspn(*line, " \t");
    size_t digits = strspn(*line, "0123456789");
    bool good = digits > 0 && parse_i64(*line, digits, out);
    *line += digits;
    return good;
}

static Status read_market_line(const char *path, size_t number, const char *line, MarketFile *m) {
    int64_t row = 0, column = 0;
    double value = 1; // a pattern has no values
    const char *p = line;
    if (m->rows < 0) {
        if (next_number(&p, &m->rows) && next_number(&p, &m->columns) && next_number(&p, &m->entries)) return STATUS_OK;
        return status_make(STATUS_MALFORMED, "%s:%zu: numbers of rows, columns and entries are expected", path, number);
    }
    bool good = next_number(&p, &row) && next_number(&p, &column) && row >= 1 && row <= m->rows && column >= 1 &&
                column <= m->columns;
    p += strspn(p, " \t");
    if (good && *p) good = parse_f64(p, strlen(p), &value);
    if (!good)
        return status_make(STATUS_MALFORMED, "%s:%zu: a row to %lld, a column to %lld and a number are expected", path,
                           number, (long long)m->rows, (long long)m->columns);
    m->read++;
    m->nnz += value != 0;
    m->sum += value;
    return STATUS_OK;
}

static Status inspect_market(const char *path, Sheet *sheet) {
    LineReader *reader = NULL;
    MarketFile m = {.rows = -1};
    char *line = NULL;
    size_t length = 0;
    TRY(lines_open(path, &reader));
    Status status = lines_next(reader, &line, &length);
    if (status == STATUS_OK && line && (!strstr(line, " coordinate ") || !strstr(line, " general")))
        status = status_make(STATUS_UNSUPPORTED, "%s:1: only general coordinate matrices are read", path);
    while (status == STATUS_OK && line) {
        if (length && line[0] != '%') status = read_market_line(path, lines_number(reader), line, &m);
        if (status == STATUS_OK) status = lines_next(reader, &line, &length);
    }
    lines_close(reader);
    if (status == STATUS_OK && (m.rows < 0 || m.read != m.entries))
        status = status_make(STATUS_MALFORMED, "%s: %lld entries are announced and %lld are there", path,
                             (long long)m.entries, (long long)m.read);
    TRY(status);
    sheet_title(sheet, path, "matrix", "Matrix Market (10x matrix directory)");
    sheet_count(sheet, "rows", "rows", m.rows);
    sheet_count(sheet, "columns", "columns", m.columns);
    sheet_count(sheet, "nnz", "entries", m.nnz);
    sheet_number(sheet, "sum", "sum", m.sum, "");
    sheet_line(sheet, "", "With barcodes.tsv and features.tsv beside it, give the directory.");
    return STATUS_OK;
}

Status inspect_mex_part(const char *path, MexPart part, Sheet *sheet) {
    return part == MEX_MATRIX ? inspect_market(path, sheet) : inspect_list(path, part, sheet);
}
