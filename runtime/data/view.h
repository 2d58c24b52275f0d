// view: what a strided array of a file is made of, its checks, and reading it in C order. Shared by torch tensors,
// NumPy arrays in pickles, and NPY files.
#pragma once

#include "pickle.h"

// NumPy's name of a dtype without byte order ("f4", "i8", "b1", "U12", "S3") into type, text_width and text_bytes.
// NULL, or why it is refused.
const char *view_dtype(const char *name, size_t length, PickleView *view);
size_t view_item_size(const PickleView *view);     // bytes of one element or text
void view_strides(PickleView *view, bool fortran); // of an array without gaps; saturating
bool view_is_packed(const PickleView *view);       // its elements lie in C order, one after another

// Sets `elements`; NULL, or what is wrong: shape too large, or a view outside its storage. A view that shows elements
// more than once may show at most 2^28.
const char *view_check(PickleView *view);

// All elements in C order; storage->data must be set. `name` is for messages: "model.pt: tensor x".
MUST_USE Status view_read(const PickleView *view, const char *name, ElementType type, void *to);

size_t utf8_put(uint32_t code, char *to); // one character; bytes written, at most 4
// One text of a NumPy array at `from` as UTF-8, ended by '\0', into room for 4 * text_width + 1 bytes. Its length;
// SIZE_MAX: it holds a number that is no character.
size_t view_text(const PickleView *view, const unsigned char *from, char *to);
// All texts in C order; memory from `arena`.
MUST_USE Status view_texts(const PickleView *view, const char *name, Arena *arena, char ***out_texts);
