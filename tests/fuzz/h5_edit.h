// h5_edit: HDF5 files that are sound for the library and wrong for their readers. A small file serves as template; the
// bytes of a fuzzer are a list of edits on its objects: values, shapes, types, filters, links, attributes. HDF5 writes
// the result, so it is our checks that meet it and not the library's.
#pragma once

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct EditTemplate {
    unsigned char *bytes; // the file
    size_t size;
    char **object; // [objects] paths, sorted
    size_t objects;
    char **attribute; // [attributes] names that occur anywhere in it
    size_t attributes;
} EditTemplate;

// Ends the program if it is no HDF5 file.
EditTemplate edit_template_file(const char *path);
// Writes a copy with the edits to `path`. False: HDF5 would not have them.
bool edit_apply(const EditTemplate *from, const uint8_t *edits, size_t size, const char *path);
// How many files, datasets, groups, types and attributes are open: 0 unless somebody forgot to close one.
long edit_open_objects(void);
