// sheet: what a command has found out, printed for a reader (aligned lines) or for a program (one JSON object). The
// commands say each fact once; the sheet knows both forms.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/json.h"
#include "../core/status.h"
#include "../core/strings.h"

enum { SHEET_COLUMNS = 16 };

typedef struct Sheet {
    bool json;
    JsonWriter writer; // JSON
    Text text;         // lines
    Text cells;        // of the table being written, each ends in '\n', a row in an empty one
    int columns;       // of that table
    bool number[SHEET_COLUMNS];
    const char *header[SHEET_COLUMNS];
    int cell;
} Sheet;

void sheet_begin(Sheet *sheet, bool json);
// Prints everything to standard output, or fails without printing. Ends the sheet in either case.
MUST_USE Status sheet_print(Sheet *sheet);
void sheet_drop(Sheet *sheet);

// The first line: `subject`: `what`. JSON: "file" and "format"; `kind` ("counts", "image", ...) is for programs.
void sheet_title(Sheet *sheet, const char *subject, const char *kind, const char *what);

// Facts. `key` is for programs (NULL: readers only), `label` for readers (NULL: programs only).
void sheet_text(Sheet *sheet, const char *key, const char *label, const char *value);
void sheet_count(Sheet *sheet, const char *key, const char *label, int64_t value);
void sheet_number(Sheet *sheet, const char *key, const char *label, double value, const char *unit); // NaN: left out
void sheet_names(Sheet *sheet, const char *key, const char *label, char *const *names, size_t count);
// Sentences, one to a line; nothing if there are none.
void sheet_notes(Sheet *sheet, const char *key, const char *label, char *const *notes, size_t count);
// A line for readers alone.
void sheet_line(Sheet *sheet, const char *label, const char *format, ...) PRINTF_LIKE(3, 4);

// "2,423,896"; returns `buffer`.
const char *sheet_grouped(int64_t value, char buffer[32]);

// A table: an array of objects. `headers` (for readers) ends in NULL; cells come in that order; programs get the keys.
void sheet_table(Sheet *sheet, const char *key, const char *label, const char *const *headers);
void sheet_row(Sheet *sheet);
void sheet_cell_text(Sheet *sheet, const char *key, const char *value);
void sheet_cell_count(Sheet *sheet, const char *key, int64_t value);
void sheet_cell_number(Sheet *sheet, const char *key, double value); // NaN: null and "-"
// A shape: an array of numbers for programs, "3 x 4" for readers.
void sheet_cell_shape(Sheet *sheet, const char *key, const int64_t *shape, int rank);
void sheet_row_end(Sheet *sheet);
void sheet_table_end(Sheet *sheet);
