// spot_tables: per-spot tables as text files: FOLDER/SECTION_NAME.tsv or .csv, first column the spot's id, one column
// per cell type (or whatever NAME holds), values >= 0. Every spot of the section needs a line; lines of other spots are
// counted in n_extra_rows.
#pragma once

#include "section.h"

// The NAMEs for which every one of `sections` has a file, byte order, each once. A folder that is not there has none.
MUST_USE Status spot_tables_list(const char *folder, char *const *sections, size_t n_sections, Arena *arena,
                                 char ***out_names, size_t *out_count);
// FOLDER/SECTION_NAME with the ending that exists, .tsv before .csv; NULL: there is none.
MUST_USE Status spot_tables_find(const char *folder, const char *section, const char *name, Arena *arena,
                                 char **out_path);
// Reads a file for the spots of a section, whose ids are known.
MUST_USE Status spot_table_read(const char *path, const char *name, Section *section, SpotTable *out_table);
