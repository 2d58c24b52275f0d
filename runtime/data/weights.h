// weights: tensors by name from any file of weights or arrays: safetensors, torch.save's archives and streams, pickles
// of NumPy arrays, NPY and NPZ. What a file is, is told by its content, never by its name; nothing in it is executed.
//
// A pickle's dicts, lists and objects become one list of tensors, named by the way to them: keys, attributes and
// positions joined by '.', e.g. "state_dict.encoder.0.weight"; a bare tensor is named "tensor". Values inside values
// that are already on the way (cycles) are not entered again. Beside tensors there are facts (numbers, bools and texts
// that stand in dicts or objects) and lists of texts.
//
// Data stays in the mapped file until it is read. Not for use by two threads at a time.
#pragma once

#include "npy.h"
#include "safetensors.h"
#include "torch_file.h"

typedef struct WeightsTensor {
    const char *name; // UTF-8
    ElementType type; // texts: U8, see is_text
    bool is_text;
    int rank;
    int64_t shape[ELEMENT_MAX_RANK];
    int64_t elements;
    size_t number; // position in Weights.tensor
} WeightsTensor;

typedef struct WeightsFact {
    const char *name, *value; // value as text: "12", "0.25", "true", "adamw"
    bool is_text;             // was a text and not a number
} WeightsFact;

typedef struct Weights {
    const char *path;
    const char *kind;      // "safetensors", "torch archive", "torch stream", "pickle", "NPY" or "NPZ"
    WeightsTensor *tensor; // [count] in the order of the file
    size_t count;
    WeightsFact *fact; // [facts]
    size_t facts;
    struct WeightsInside *inside;
} Weights;

// Opens, checks and lists. Errors name file, entry, opcode and byte; see pickle.h for what is refused.
MUST_USE Status weights_open(const char *path, Weights *out_weights);
void weights_close(Weights *weights); // harmless on a zeroed or closed one

const WeightsTensor *weights_find(const Weights *weights, const char *name); // NULL: not there
const char *weights_fact(const Weights *weights, const char *name);          // NULL: not there

// All elements in C order into `to` (tensor->elements of `type`), converted where element_convertible.
MUST_USE Status weights_read(Weights *weights, const WeightsTensor *tensor, ElementType type, void *to);
// The elements in their own type without a copy, if they lie packed and aligned in the mapped file or in memory;
// else *out_data is NULL and weights_read gives them. Valid until weights_close.
MUST_USE Status weights_data(Weights *weights, const WeightsTensor *tensor, const void **out_data);
// A list or tuple of texts ("barcodes"), or an array of texts. Memory from `arena`.
MUST_USE Status weights_texts(Weights *weights, const char *name, Arena *arena, char ***out_texts, size_t *out_count);
