// The door to the syntax room: text to tree, and text to text in the one layout.
#ifndef STMC_SYNTAX_H
#define STMC_SYNTAX_H

#include "base/base.h"
#include "forms/tree.h"

// Statements, brackets and expressions nest at most this deep, so that every later pass may walk trees
// recursively.
enum { MAX_NESTING = 1000 };

// The tree of one file of `sources`, on `arena`. NULL when an error was reported; several errors are reported
// where the parser finds a statement to go on with. Any bytes may be given.
Node *parse_file(Arena *arena, Names *names, Sources *sources, Diagnostics *d, int file);

// The text of `source` in the one layout, added to `out`. Comments and the author's line breaks stay; spaces,
// indentation, blank lines and columns change. The tokens are the same, so the tree is the same; formatting
// twice is formatting once. False (and nothing added) when the text does not parse: parse_file tells why.
bool format_source(const Source *source, Text *out);

#endif
