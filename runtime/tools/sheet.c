// sheet: see sheet.h.
#include "sheet.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL = 16, WIDTH = 100, MOST_NAMES = 24 };

void sheet_begin(Sheet *s, bool json) {
    *s = (Sheet){.json = json, .writer = json_writer(json ? 2 : 0)};
    if (json) json_begin_object(&s->writer);
}

void sheet_drop(Sheet *s) {
    json_writer_free(&s->writer);
    text_free(&s->text);
    text_free(&s->cells);
}

Status sheet_print(Sheet *s) {
    if (s->json) json_end_object(&s->writer);
    const Text *text = s->json ? &s->writer.text : &s->text;
    Status status = text_status(text);
    if (status == STATUS_OK) {
        errno = 0;
        if (fputs(text_string(text), stdout) == EOF || (s->json && putchar('\n') == EOF) || fflush(stdout) == EOF)
            status = status_errno(errno ? errno : EIO, "cannot write to standard output");
    }
    sheet_drop(s);
    return status;
}

// Names come from files: control characters must not reach a terminal.
static void add_clean(Text *text, const char *value) {
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        char byte = *p < 32 || *p == 127 ? '?' : (char)*p;
        text_append(text, &byte, 1);
    }
}

// "2,423,896"
const char *sheet_grouped(int64_t value, char buffer[32]) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value), at = 0;
    for (int i = 0; i < n; i++) {
        buffer[at++] = digits[i];
        if (digits[i] != '-' && i + 1 < n && (n - 1 - i) % 3 == 0) buffer[at++] = ',';
    }
    buffer[at] = 0;
    return buffer;
}

static void begin_line(Sheet *s, const char *label) {
    text_printf(&s->text, "  %-*s ", LABEL - 3, label);
}

void sheet_title(Sheet *s, const char *subject, const char *kind, const char *what) {
    if (s->json) {
        json_key(&s->writer, "file"), json_string(&s->writer, subject);
        json_key(&s->writer, "kind"), json_string(&s->writer, kind);
        json_key(&s->writer, "format"), json_string(&s->writer, what);
        return;
    }
    add_clean(&s->text, subject);
    text_add(&s->text, ": ");
    add_clean(&s->text, what);
    text_add(&s->text, "\n");
}

void sheet_text(Sheet *s, const char *key, const char *label, const char *value) {
    if (s->json && key) json_key(&s->writer, key), json_string(&s->writer, value);
    if (s->json || !label) return;
    begin_line(s, label);
    add_clean(&s->text, value);
    text_add(&s->text, "\n");
}

void sheet_count(Sheet *s, const char *key, const char *label, int64_t value) {
    char buffer[32];
    if (s->json && key) json_key(&s->writer, key), json_integer(&s->writer, value);
    else sheet_text(s, NULL, label, sheet_grouped(value, buffer));
}

static void readable(double value, char *buffer, size_t size) {
    char digits[32];
    if (value == floor(value) && fabs(value) < 1e15)
        snprintf(buffer, size, "%s", sheet_grouped((int64_t)value, digits));
    else snprintf(buffer, size, "%.6g", value);
}

void sheet_number(Sheet *s, const char *key, const char *label, double value, const char *unit) {
    if (isnan(value)) return;
    if (s->json && key) {
        json_key(&s->writer, key);
        if (value == floor(value) && fabs(value) < 9e15) json_integer(&s->writer, (int64_t)value);
        else json_number(&s->writer, value);
    }
    if (s->json || !label) return;
    char number[64];
    readable(value, number, sizeof number);
    sheet_line(s, label, "%s%s%s", number, *unit ? " " : "", unit);
}

void sheet_names(Sheet *s, const char *key, const char *label, char *const *names, size_t count) {
    if (s->json && key) {
        json_key(&s->writer, key), json_begin_array(&s->writer);
        for (size_t i = 0; i < count; i++) json_string(&s->writer, names[i]);
        json_end_array(&s->writer);
    }
    if (s->json || !label || count == 0) return;
    begin_line(s, label);
    size_t at = LABEL, shown = count > MOST_NAMES ? MOST_NAMES : count;
    for (size_t i = 0; i < shown; i++) {
        size_t length = strlen(names[i]) + 2;
        if (i) text_add(&s->text, ",");
        if (at + length > WIDTH && at > LABEL) {
            text_printf(&s->text, "\n%*s", LABEL, "");
            at = LABEL;
        } else if (i) {
            text_add(&s->text, " ");
        }
        add_clean(&s->text, names[i]);
        at += length;
    }
    if (count > shown) text_printf(&s->text, " and %zu more", count - shown);
    text_add(&s->text, "\n");
}

// A sentence, wrapped and hung.
static void add_sentence(Text *text, const char *sentence, size_t indent) {
    size_t at = indent;
    while (*sentence) {
        size_t n = strcspn(sentence, " ");
        if (at + n > WIDTH && at > indent) {
            text_printf(text, "\n%*s", (int)indent, "");
            at = indent;
        }
        for (size_t i = 0; i < n; i++) {
            char byte = (unsigned char)sentence[i] < 32 || sentence[i] == 127 ? '?' : sentence[i];
            text_append(text, &byte, 1);
        }
        at += n;
        sentence += n;
        while (*sentence == ' ') sentence++;
        if (*sentence) text_add(text, " "), at++;
    }
}

void sheet_notes(Sheet *s, const char *key, const char *label, char *const *notes, size_t count) {
    if (s->json && key) {
        json_key(&s->writer, key), json_begin_array(&s->writer);
        for (size_t i = 0; i < count; i++) json_string(&s->writer, notes[i]);
        json_end_array(&s->writer);
    }
    for (size_t i = 0; !s->json && label && i < count; i++) {
        begin_line(s, i ? "" : label);
        add_sentence(&s->text, notes[i], LABEL);
        text_add(&s->text, "\n");
    }
}

void sheet_line(Sheet *s, const char *label, const char *format, ...) {
    char line[1024];
    va_list arguments;
    if (s->json) return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    sheet_text(s, NULL, label, line);
}

// ---- Tables -------------------------------------------------------------------------------------

void sheet_table(Sheet *s, const char *key, const char *label, const char *const *headers) {
    s->columns = 0;
    text_clear(&s->cells);
    if (s->json) {
        json_key(&s->writer, key), json_begin_array(&s->writer);
        return;
    }
    while (headers[s->columns] && s->columns < SHEET_COLUMNS) {
        s->header[s->columns] = headers[s->columns];
        s->number[s->columns] = true;
        s->columns++;
    }
    begin_line(s, label);
    while (s->text.length && s->text.data[s->text.length - 1] == ' ') s->text.data[--s->text.length] = 0;
    text_add(&s->text, "\n");
}

void sheet_row(Sheet *s) {
    s->cell = 0;
    if (s->json) json_begin_object(&s->writer);
}

static void add_cell(Sheet *s, const char *value, bool number) {
    if (s->cell >= s->columns) return;
    s->number[s->cell++] &= number;
    add_clean(&s->cells, *value ? value : "-");
    text_add(&s->cells, "\n");
}

void sheet_cell_text(Sheet *s, const char *key, const char *value) {
    if (!s->json) add_cell(s, value, false);
    else if (key) json_key(&s->writer, key), json_string(&s->writer, value);
}

void sheet_cell_count(Sheet *s, const char *key, int64_t value) {
    char buffer[32];
    if (!s->json) add_cell(s, sheet_grouped(value, buffer), true);
    else if (key) json_key(&s->writer, key), json_integer(&s->writer, value);
}

void sheet_cell_number(Sheet *s, const char *key, double value) {
    char buffer[64] = "-";
    if (!s->json) {
        if (!isnan(value)) readable(value, buffer, sizeof buffer);
        add_cell(s, buffer, true);
    } else if (key) {
        json_key(&s->writer, key);
        if (value == floor(value) && fabs(value) < 9e15) json_integer(&s->writer, (int64_t)value);
        else json_number(&s->writer, value);
    }
}

void sheet_cell_shape(Sheet *s, const char *key, const int64_t *shape, int rank) {
    Text text = {0};
    if (s->json) json_key(&s->writer, key), json_begin_array(&s->writer);
    for (int i = 0; i < rank; i++) {
        if (s->json) json_integer(&s->writer, shape[i]);
        else text_printf(&text, "%s%lld", i ? " x " : "", (long long)shape[i]);
    }
    if (s->json) json_end_array(&s->writer);
    else add_cell(s, rank ? text_string(&text) : "scalar", false);
    text_free(&text);
}

void sheet_row_end(Sheet *s) {
    if (s->json) json_end_object(&s->writer);
    else
        while (s->cell < s->columns) add_cell(s, "-", true);
}

static size_t cell_length(const char *cell) {
    size_t columns = 0; // of the terminal: UTF-8 continuation bytes take none
    for (; *cell && *cell != '\n'; cell++) columns += ((unsigned char)*cell & 0xC0) != 0x80;
    return columns;
}

// One cell of a column `width` wide; numbers stand to the right, and nothing is padded at the end of a line.
static void add_aligned(Sheet *s, const char *cell, int column, size_t width) {
    bool last = column + 1 == s->columns;
    int pad = (int)(width - cell_length(cell));
    text_add(&s->text, column ? "  " : "    ");
    if (s->number[column]) text_printf(&s->text, "%*s", pad, "");
    text_append(&s->text, cell, strcspn(cell, "\n"));
    if (!s->number[column] && !last) text_printf(&s->text, "%*s", pad, "");
    if (last) text_add(&s->text, "\n");
}

void sheet_table_end(Sheet *s) {
    if (s->json) {
        json_end_array(&s->writer);
        return;
    }
    size_t width[SHEET_COLUMNS] = {0};
    int column = 0;
    for (int c = 0; c < s->columns; c++) width[c] = cell_length(s->header[c]);
    const char *cells = text_string(&s->cells);
    for (const char *p = cells; *p; p = strchr(p, '\n') + 1, column = (column + 1) % s->columns)
        if (cell_length(p) > width[column]) width[column] = cell_length(p);
    for (int c = 0; c < s->columns; c++) add_aligned(s, s->header[c], c, width[c]);
    column = 0;
    for (const char *p = cells; *p; p = strchr(p, '\n') + 1, column = (column + 1) % s->columns)
        add_aligned(s, p, column, width[column]);
    text_clear(&s->cells);
}
