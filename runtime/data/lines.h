// lines: text files line by line, plain or gzip (told apart by their first bytes, not by their name).
//
// Accepts "\n" and "\r\n" endings, a last line without ending, a UTF-8 byte order mark, and gzip files of
// several members. Refuses, with file and line: a gzip stream that ends early, fails its checksum or is
// followed by other bytes; NUL bytes; lines above 256 MiB.
#pragma once

#include <stddef.h>

#include "../core/status.h"

typedef struct LineReader LineReader;

MUST_USE Status lines_open(const char *path, LineReader **out_reader);

// The next line without its ending, '\0' behind it; may be changed by the caller and lives until the next
// call. At the end of the file *out_line is NULL.
MUST_USE Status lines_next(LineReader *reader, char **out_line, size_t *out_length);

size_t lines_number(const LineReader *reader); // of the line returned last, from 1
const char *lines_path(const LineReader *reader);
void lines_close(LineReader *reader); // NULL is fine
