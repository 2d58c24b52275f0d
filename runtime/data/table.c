// table: see table.h.
#include "table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../core/strings.h"

enum { MOST_COLUMNS = 1 << 22 };

Status table_error(const TableReader *table, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    Status status = status_makev(STATUS_MALFORMED, format, arguments);
    va_end(arguments);
    return status_context(status, "%s:%zu", lines_path(table->lines), lines_number(table->lines));
}

// Takes one CSV field that starts at *cursor; leaves the cursor on the separator or the final '\0'.
static Status csv_field(const TableReader *table, char **cursor, Field *field) {
    char *p = *cursor, *to = p;
    if (*p != '"') {
        while (*p && *p != table->separator) p++;
        *field = (Field){*cursor, (size_t)(p - *cursor)};
        *cursor = p;
        return STATUS_OK;
    }
    for (p++;; p++) {
        if (*p == '\0') return table_error(table, "a quoted field is not closed on its line");
        if (*p == '"' && p[1] == '"') p++;
        else if (*p == '"') break;
        *to++ = *p;
    }
    p++;
    if (*p && *p != table->separator) return table_error(table, "text follows the closing quote of a field");
    *field = (Field){*cursor, (size_t)(to - *cursor)};
    *cursor = p;
    return STATUS_OK;
}

// Splits `line` in place into at most `limit` fields; *out_count is the true number. fields may be NULL to
// count.
static Status split(const TableReader *table, char *line, Field *fields, size_t limit, size_t *out_count) {
    size_t count = 0;
    for (char *p = line;; p++) {
        Field field;
        if (table->separator == ',') {
            TRY(csv_field(table, &p, &field));
        } else {
            char *end = strchr(p, table->separator);
            if (!end) end = p + strlen(p);
            field = (Field){p, (size_t)(end - p)};
            p = end;
        }
        bool last = *p == '\0';
        if (count < limit) {
            ((char *)field.text)[field.length] = '\0';
            fields[count] = field;
        }
        count++;
        if (last) break;
    }
    *out_count = count;
    return STATUS_OK;
}

Status table_open(TableReader *table, const char *path, char separator) {
    *table = (TableReader){.separator = separator};
    arena_init(&table->arena);
    TRY(lines_open(path, &table->lines));
    char *line = NULL;
    size_t length = 0, limit = 1, count = 0;
    Status status = STATUS_OK;
    TRY_OR(status, failed, lines_next(table->lines, &line, &length));
    if (!line) {
        status = status_make(STATUS_MALFORMED, "%s: the file is empty; a header line is expected", path);
        goto failed;
    }
    for (size_t i = 0; i < length; i++) limit += line[i] == separator; // an upper bound: some may be quoted
    if (limit > MOST_COLUMNS) {
        status = status_make(STATUS_MALFORMED, "%s:1: the header has %zu columns; at most %d are read", path, limit,
                             MOST_COLUMNS);
        goto failed;
    }
    TRY_OR(status, failed, ARENA_NEW(&table->arena, table->fields, limit));
    TRY_OR(status, failed, ARENA_NEW(&table->arena, table->columns, limit));
    TRY_OR(status, failed, split(table, line, table->fields, limit, &count));
    table->n_columns = count;
    for (size_t i = 0; i < count; i++)
        TRY_OR(status, failed,
               ARENA_COPY(&table->arena, table->columns[i], table->fields[i].text, table->fields[i].length));
    return STATUS_OK;
failed:
    table_close(table);
    return status;
}

void table_close(TableReader *table) {
    lines_close(table->lines);
    arena_free(&table->arena);
    *table = (TableReader){0};
}

Status table_next(TableReader *table, bool *out_row) {
    char *line = NULL;
    size_t length = 0, count = 0;
    *out_row = false;
    TRY(lines_next(table->lines, &line, &length));
    if (line && length == 0 && table->n_columns > 1) {
        size_t empty_at = lines_number(table->lines);
        while (line && length == 0) TRY(lines_next(table->lines, &line, &length));
        if (line)
            return status_make(STATUS_MALFORMED, "%s:%zu: an empty line between rows", lines_path(table->lines),
                               empty_at);
    }
    if (!line) return STATUS_OK;
    TRY(split(table, line, table->fields, table->n_columns, &count));
    if (count != table->n_columns)
        return table_error(table, "%zu fields where the header has %zu; the line is cut off or misses a separator",
                           count, table->n_columns);
    *out_row = true;
    return STATUS_OK;
}

Status table_column(const TableReader *table, const char *name, size_t *out_column) {
    for (size_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i], name) == 0) {
            *out_column = i;
            return STATUS_OK;
        }
    }
    Text list = {0};
    for (size_t i = 0; i < table->n_columns && i < 12; i++)
        text_printf(&list, "%s'%s'", i ? ", " : "", table->columns[i]);
    if (table->n_columns > 12) text_add(&list, ", ...");
    Status status = status_make(STATUS_MALFORMED, "%s:1: no column named '%s'; the header has %s",
                                lines_path(table->lines), name, text_string(&list));
    text_free(&list);
    return status;
}

Status table_f64(const TableReader *table, size_t column, double *out_value) {
    Field field = table->fields[column];
    char q[QUOTED_TEXT];
    if (!parse_f64(field.text, field.length, out_value))
        return table_error(table, "column '%s': %s is not a number", table->columns[column],
                           quoted(field.text, field.length, q));
    if (!isfinite(*out_value))
        return table_error(table, "column '%s': %s is not a finite number", table->columns[column],
                           quoted(field.text, field.length, q));
    return STATUS_OK;
}

Status table_i64(const TableReader *table, size_t column, int64_t *out_value) {
    Field field = table->fields[column];
    if (parse_i64(field.text, field.length, out_value)) return STATUS_OK;
    char q[QUOTED_TEXT];
    return table_error(table, "column '%s': %s is not a whole number", table->columns[column],
                       quoted(field.text, field.length, q));
}
