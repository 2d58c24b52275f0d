// table: separated values with a header line, row by row, from plain or gzip text.
//
// TSV: fields are split at tabs, nothing is quoted. CSV: RFC 4180 quotes, but a quoted field may not contain
// a line break. Every row must have as many fields as the header. Empty lines at the end of the file are
// passed over; an empty line in between is an error.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"
#include "lines.h"

typedef struct Field {
    const char *text; // ends in '\0'
    size_t length;
} Field;

typedef struct TableReader {
    LineReader *lines;
    char separator;
    size_t n_columns;
    char **columns; // [n_columns] header names, blanks kept (her2st has a cell type named "NK cells ")
    Field *fields;  // [n_columns] the current row
    Arena arena;    // header and fields
} TableReader;

// Opens `path` and reads the header, at most 4,194,304 columns. separator '\t' or ','.
MUST_USE Status table_open(TableReader *table, const char *path, char separator);
// The next row into table->fields, valid until the next call; *out_row false at the end of the file.
MUST_USE Status table_next(TableReader *table, bool *out_row);
void table_close(TableReader *table);

// Position of a column that must exist; the message lists the columns that do.
MUST_USE Status table_column(const TableReader *table, const char *name, size_t *out_column);

// A field of the current row as a number; errors name file, line and column. `table_f64` refuses nan and inf.
MUST_USE Status table_f64(const TableReader *table, size_t column, double *out_value);
MUST_USE Status table_i64(const TableReader *table, size_t column, int64_t *out_value);

// "PATH:LINE: " + message, for the row read last.
MUST_USE Status table_error(const TableReader *table, const char *format, ...) PRINTF_LIKE(2, 3);
