// Messages to the user: file:line:column, the line, the underline; second places with lines of their own;
// what to do. Errors are kept until they are printed, so that the driver chooses the form (text for people,
// JSON for editors).
#include "base/base.h"

#include <string.h>

typedef struct Note {
    Span at; // file < 0: a line without a place
    const char *message;
} Note;

typedef struct Message {
    Span at;
    const char *code, *text, *help;
    VEC(Note) note;
} Message;

struct Diagnostics {
    Arena *arena;
    const Sources *sources;
    VEC(Message) message;
    int count; // of errors reported; those beyond SHOWN are counted and not kept
};

enum { SHOWN = 20, LINE_COLUMNS = 100, COLUMNS_BEFORE = 40, TAB = 4 };

const Span NO_SPAN = {-1, 0, 0};

Diagnostics *diagnostics_new(Arena *arena, const Sources *sources) {
    Diagnostics *d = NEW(arena, Diagnostics);
    d->arena = arena;
    d->sources = sources;
    return d;
}

int diagnostics_count(const Diagnostics *d) {
    return d->count;
}

const Sources *diagnostics_sources(const Diagnostics *d) {
    return d->sources;
}

// The message that notes and help go to; NULL when it was not kept.
static Message *last(Diagnostics *d) {
    return d->count > 0 && d->count <= SHOWN ? &vec_last(&d->message) : NULL;
}

void report_error(Diagnostics *d, Span at, const char *code, const char *format, ...) {
    if (d->count++ >= SHOWN) return;
    va_list arguments;
    va_start(arguments, format);
    Message message = {.at = at, .code = code, .text = arena_vformat(d->arena, format, arguments)};
    va_end(arguments);
    vec_push(d->arena, &d->message, message);
}

void report_note(Diagnostics *d, Span at, const char *format, ...) {
    Message *message = last(d);
    if (!message) return;
    va_list arguments;
    va_start(arguments, format);
    Note note = {at, arena_vformat(d->arena, format, arguments)};
    va_end(arguments);
    vec_push(d->arena, &message->note, note);
}

void report_help(Diagnostics *d, const char *format, ...) {
    Message *message = last(d);
    if (!message) return;
    va_list arguments;
    va_start(arguments, format);
    message->help = arena_vformat(d->arena, format, arguments);
    va_end(arguments);
}

// ---- the excerpt

// Columns that a terminal gives to a code point. The ranges are the wide and the combining ones that occur in
// practice; a wrong guess moves an underline by one column.
static int columns_of(uint32_t c) {
    if ((c >= 0x300 && c <= 0x36F) || (c >= 0x200B && c <= 0x200F) || (c >= 0x20D0 && c <= 0x20FF) ||
        (c >= 0xFE00 && c <= 0xFE0F) || c == 0x2060)
        return 0;
    if ((c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0x303E) || (c >= 0x3041 && c <= 0xA4CF) ||
        (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) ||
        (c >= 0xFF00 && c <= 0xFF60) || (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1F64F) ||
        (c >= 0x1F900 && c <= 0x1F9FF) || (c >= 0x20000 && c <= 0x3FFFD))
        return 2;
    return 1;
}

// One character of the line at byte `at`: adds what is shown and returns its bytes; *columns is its width.
static int add_cell(Text *out, const char *at, size_t room, int *columns) {
    if (*at == '\t') {
        text_add(out, "%*s", TAB, "");
        *columns = TAB;
        return 1;
    }
    size_t before = out->length;
    uint32_t c = 0;
    int well_formed = utf8_decode(at, room, &c);
    int bytes = text_add_shown(out, at, room);
    bool as_is = well_formed && out->length - before == (size_t)well_formed &&
                 memcmp(out->at + before, at, (size_t)well_formed) == 0;
    *columns = as_is ? columns_of(c) : (int)(out->length - before);
    return bytes;
}

static void print_repeated(FILE *to, char c, int n) {
    for (int i = 0; i < n; i++) fputc(c, to);
}

// The line of `at` with a gutter and an underline. Of a line that is too long, the part around the span is
// shown.
static void print_excerpt(const Diagnostics *d, Span at, FILE *to) {
    const Source *source = &d->sources->file.at[at.file];
    int line, column;
    sources_place(d->sources, at, &line, &column);
    int32_t begin = source->line_begin[line - 1];
    int32_t end = line < source->lines ? source->line_begin[line] : source->size;
    while (end > begin && (source->text[end - 1] == '\n' || source->text[end - 1] == '\r')) end--;

    int32_t from = at.begin < begin ? begin : at.begin > end ? end : at.begin;
    int32_t until = at.end > end ? end : at.end;
    if (until < from) until = from;

    // Columns before and in the span, to choose the window.
    Text scratch = {.arena = d->arena};
    int before = 0, total = 0, columns;
    for (int32_t i = begin; i < end && total < 1 << 20;) {
        scratch.length = 0;
        int32_t next = i + add_cell(&scratch, source->text + i, (size_t)(end - i), &columns);
        if (i < from) before += columns;
        total += columns;
        i = next;
    }
    int first = 0; // first column shown
    if (total > LINE_COLUMNS && before > COLUMNS_BEFORE) {
        int last = total - LINE_COLUMNS + 1; // a window from here reaches the end of the line
        first = before - COLUMNS_BEFORE < last ? before - COLUMNS_BEFORE : last;
    }

    Text shown = {.arena = d->arena};
    int lead = 0, under = 0, width = 0, position = 0;
    bool cut_after = false;
    if (first > 0) {
        text_add(&shown, "…");
        width = lead = 1;
    }
    for (int32_t i = begin; i < end;) {
        if (width >= LINE_COLUMNS) {
            cut_after = true;
            break;
        }
        scratch.length = 0;
        int32_t next = i + add_cell(&scratch, source->text + i, (size_t)(end - i), &columns);
        if (position >= first) {
            text_add_bytes(&shown, scratch.at, scratch.length);
            width += columns;
            if (i < from) lead += columns;
            if (i >= from && i < until) under += columns;
        }
        position += columns;
        i = next;
    }
    if (cut_after) text_add(&shown, "…");
    if (under < 1) under = 1;

    int gutter = 6;
    fprintf(to, "%*d | %s\n", gutter, line, shown.length ? shown.at : "");
    for (int n = line; n > 999999; n /= 10) gutter++;
    fprintf(to, "%*s | ", gutter, "");
    print_repeated(to, ' ', lead);
    fputc('^', to);
    print_repeated(to, '~', under - 1);
    fputc('\n', to);
}

static bool has_place(const Diagnostics *d, Span at) {
    return at.file >= 0 && at.file < d->sources->file.count;
}

static void print_place(const Diagnostics *d, Span at, FILE *to) {
    if (!has_place(d, at)) return;
    int line, column;
    sources_place(d->sources, at, &line, &column);
    fprintf(to, "%s:%d:%d: ", d->sources->file.at[at.file].path, line, column);
}

static void print_text(const Diagnostics *d, FILE *to) {
    for (int i = 0; i < d->message.count; i++) {
        const Message *m = &d->message.at[i];
        if (!has_place(d, m->at)) fputs("stmc: ", to);
        print_place(d, m->at, to);
        fprintf(to, "error: %s", m->text);
        if (m->code) fprintf(to, " [%s]", m->code);
        fputc('\n', to);
        if (has_place(d, m->at)) print_excerpt(d, m->at, to);
        for (int k = 0; k < m->note.count; k++) {
            const Note *note = &m->note.at[k];
            print_place(d, note->at, to);
            fprintf(to, "note: %s\n", note->message);
            if (has_place(d, note->at)) print_excerpt(d, note->at, to);
        }
        if (m->help) fprintf(to, "help: %s\n", m->help);
    }
    if (d->count > SHOWN) fprintf(to, "%d errors; the first %d are shown\n", d->count, SHOWN);
}

// ---- JSON

static void json_string(FILE *to, const char *text) {
    fputc('"', to);
    size_t length = strlen(text);
    for (size_t i = 0; i < length;) {
        uint32_t c;
        int bytes = utf8_decode(text + i, length - i, &c);
        if (bytes == 0) {
            fputs("\\ufffd", to);
            i++;
            continue;
        }
        if (c == '"' || c == '\\') {
            fprintf(to, "\\%c", (int)c);
        } else if (c < 0x20 || c == 0x7F) {
            fprintf(to, "\\u%04x", c);
        } else {
            fwrite(text + i, 1, (size_t)bytes, to);
        }
        i += (size_t)bytes;
    }
    fputc('"', to);
}

static void json_place(const Diagnostics *d, Span at, FILE *to) {
    if (!has_place(d, at)) {
        fputs("\"file\":null", to);
        return;
    }
    int line, column, end_line, end_column;
    sources_place(d->sources, at, &line, &column);
    sources_place(d->sources, (Span){at.file, at.end, at.end}, &end_line, &end_column);
    fputs("\"file\":", to);
    json_string(to, d->sources->file.at[at.file].path);
    fprintf(to, ",\"line\":%d,\"column\":%d,\"end_line\":%d,\"end_column\":%d", line, column, end_line, end_column);
}

static void print_json(const Diagnostics *d, FILE *to) {
    fprintf(to, "{\"errors\":%d,\"messages\":[", d->count);
    for (int i = 0; i < d->message.count; i++) {
        const Message *m = &d->message.at[i];
        fprintf(to, "%s\n{\"severity\":\"error\",", i ? "," : "");
        json_place(d, m->at, to);
        fputs(",\"code\":", to);
        json_string(to, m->code ? m->code : "");
        fputs(",\"message\":", to);
        json_string(to, m->text);
        fputs(",\"notes\":[", to);
        for (int k = 0; k < m->note.count; k++) {
            fputs(k ? ",{" : "{", to);
            json_place(d, m->note.at[k].at, to);
            fputs(",\"message\":", to);
            json_string(to, m->note.at[k].message);
            fputc('}', to);
        }
        fputs("],\"help\":", to);
        if (m->help) {
            json_string(to, m->help);
        } else {
            fputs("null", to);
        }
        fputc('}', to);
    }
    fputs("]}\n", to);
}

void diagnostics_print(const Diagnostics *d, FILE *to, bool json) {
    if (json) {
        print_json(d, to);
    } else {
        print_text(d, to);
    }
}
