// lines: see lines.h. zlib's inflate is driven by hand, because gzread passes over trailing garbage in
// silence and reports a truncated stream only after handing out its bytes.
#include "lines.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../core/files.h"

enum { INPUT_PIECE = 64 << 10 };
static const size_t longest_line = (size_t)256 << 20;

struct LineReader {
    char *path;
    FILE *file;
    bool gzip;
    bool between_members; // a gzip member has just ended
    bool input_ended;
    z_stream stream;
    bool stream_ready;
    unsigned char input[INPUT_PIECE];
    size_t input_at, input_fill; // plain files: bytes not yet copied; gzip: kept in `stream`
    char *data;                  // decoded bytes: data[at .. fill) are not yet returned
    size_t at, fill, capacity;
    size_t line;
    bool done;
};

static Status refill(LineReader *reader) {
    errno = 0;
    size_t got = fread(reader->input, 1, INPUT_PIECE, reader->file);
    if (got == 0 && ferror(reader->file)) return status_errno(errno ? errno : EIO, "cannot read %s", reader->path);
    reader->input_at = 0;
    reader->input_fill = got;
    reader->input_ended = got == 0;
    return STATUS_OK;
}

Status lines_open(const char *path, LineReader **out_reader) {
    uint64_t size = 0;
    *out_reader = NULL;
    if (is_directory(path)) return status_make(STATUS_INVALID, "%s is a directory; a text file is needed", path);
    TRY(file_size(path, &size)); // refuses pipes and devices, which one could wait on
    LineReader *reader = calloc(1, sizeof *reader);
    char *copy = malloc(strlen(path) + 1);
    if (!reader || !copy) {
        free(reader);
        free(copy);
        return status_make(STATUS_NO_MEMORY, "no memory to read %s", path);
    }
    reader->path = strcpy(copy, path);
    Status status = STATUS_OK;
    reader->file = fopen(path, "rb");
    if (!reader->file) {
        status = status_errno(errno, "cannot open %s", path);
        goto failed;
    }
    TRY_OR(status, failed, refill(reader));
    reader->gzip = reader->input_fill >= 2 && reader->input[0] == 0x1f && reader->input[1] == 0x8b;
    if (reader->gzip) {
        if (inflateInit2(&reader->stream, 15 + 16) != Z_OK) { // 16: gzip wrapping only
            status = status_make(STATUS_NO_MEMORY, "no memory to decompress %s", path);
            goto failed;
        }
        reader->stream_ready = true;
        reader->stream.next_in = reader->input;
        reader->stream.avail_in = (uInt)reader->input_fill;
    } else if (reader->input_fill >= 3 && memcmp(reader->input, "\xEF\xBB\xBF", 3) == 0) {
        reader->input_at = 3;
    }
    *out_reader = reader;
    return STATUS_OK;
failed:
    lines_close(reader);
    return status;
}

void lines_close(LineReader *reader) {
    if (!reader) return;
    if (reader->stream_ready) inflateEnd(&reader->stream);
    if (reader->file) fclose(reader->file);
    free(reader->data);
    free(reader->path);
    free(reader);
}

size_t lines_number(const LineReader *reader) {
    return reader->line;
}

const char *lines_path(const LineReader *reader) {
    return reader->path;
}

// Makes room for at least one input piece behind data[fill), moving what is left to the front.
static Status make_room(LineReader *reader) {
    if (reader->at > 0) {
        memmove(reader->data, reader->data + reader->at, reader->fill - reader->at);
        reader->fill -= reader->at;
        reader->at = 0;
    }
    if (reader->fill > longest_line)
        return status_make(STATUS_MALFORMED, "%s:%zu: this line is longer than 256 MiB; this is not a text table",
                           reader->path, reader->line + 1);
    if (reader->capacity - reader->fill >= INPUT_PIECE + 1) return STATUS_OK;
    size_t capacity = reader->capacity ? reader->capacity * 2 : 4 * INPUT_PIECE;
    char *data = realloc(reader->data, capacity);
    if (!data) return status_make(STATUS_NO_MEMORY, "no memory for line %zu of %s", reader->line + 1, reader->path);
    reader->data = data;
    reader->capacity = capacity;
    return STATUS_OK;
}

static Status gzip_broken(const LineReader *reader, const char *why) {
    return status_make(STATUS_MALFORMED, "%s: %s after line %zu; copy or download the file again", reader->path, why,
                       reader->line);
}

// Decodes at least one more byte of a gzip file, or sets `done`.
static Status more_gzip(LineReader *reader) {
    z_stream *stream = &reader->stream;
    size_t before = reader->fill;
    while (reader->fill == before) {
        if (stream->avail_in == 0 && !reader->input_ended) {
            TRY(refill(reader));
            stream->next_in = reader->input;
            stream->avail_in = (uInt)reader->input_fill;
        }
        if (reader->between_members) {
            while (stream->avail_in > 0 && *stream->next_in == 0) { // tape-style zero padding is harmless
                stream->next_in++;
                stream->avail_in--;
            }
            if (stream->avail_in == 0 && !reader->input_ended) continue;
            if (stream->avail_in == 0) {
                reader->done = true;
                return STATUS_OK;
            }
            if (*stream->next_in != 0x1f) return gzip_broken(reader, "other data follows the end of the gzip stream");
            inflateReset(stream);
            reader->between_members = false;
        }
        if (stream->avail_in == 0) return gzip_broken(reader, "the gzip stream ends early (truncated file)");
        stream->next_out = (Bytef *)reader->data + reader->fill;
        stream->avail_out = (uInt)INPUT_PIECE;
        int result = inflate(stream, Z_NO_FLUSH);
        reader->fill += INPUT_PIECE - stream->avail_out;
        if (result == Z_STREAM_END) reader->between_members = true;
        else if (result == Z_MEM_ERROR)
            return status_make(STATUS_NO_MEMORY, "no memory to decompress %s", reader->path);
        else if (result != Z_OK && result != Z_BUF_ERROR)
            return gzip_broken(reader, stream->msg ? stream->msg : "the gzip stream is damaged");
    }
    return STATUS_OK;
}

static Status more_plain(LineReader *reader) {
    if (reader->input_at == reader->input_fill && !reader->input_ended) TRY(refill(reader));
    size_t count = reader->input_fill - reader->input_at;
    if (count == 0) {
        reader->done = true;
        return STATUS_OK;
    }
    memcpy(reader->data + reader->fill, reader->input + reader->input_at, count);
    reader->fill += count;
    reader->input_at = reader->input_fill;
    return STATUS_OK;
}

Status lines_next(LineReader *reader, char **out_line, size_t *out_length) {
    size_t searched = 0; // bytes from `at` known to hold no line feed
    char *feed = NULL;
    *out_line = NULL;
    *out_length = 0;
    for (;;) {
        size_t waiting = reader->fill - reader->at;
        if (waiting > searched) feed = memchr(reader->data + reader->at + searched, '\n', waiting - searched);
        if (feed || reader->done) break;
        searched = waiting;
        TRY(make_room(reader));
        TRY(reader->gzip ? more_gzip(reader) : more_plain(reader));
    }
    if (!feed && reader->at == reader->fill) return STATUS_OK;
    reader->line++;
    char *line = reader->data + reader->at;
    size_t length = feed ? (size_t)(feed - line) : reader->fill - reader->at;
    reader->at += length + (feed ? 1 : 0);
    if (length > 0 && line[length - 1] == '\r') length--;
    line[length] = '\0'; // inside the buffer: make_room always leaves one byte more than is filled
    if (memchr(line, '\0', length))
        return status_make(STATUS_MALFORMED, "%s:%zu: a NUL byte; this is not a text file", reader->path, reader->line);
    *out_line = line;
    *out_length = length;
    return STATUS_OK;
}
