// stmdata_weights: what inspect says about files of tensors: a list of name, type and shape, and the numbers and texts
// that stand beside them.
#include <string.h>

#include "../data/weights.h"
#include "stmdata.h"

static void add_facts(const Weights *w, Sheet *sheet) {
    enum { SHOWN = 40 };
    if (sheet->json) {
        json_key(&sheet->writer, "facts"), json_begin_object(&sheet->writer);
        for (size_t i = 0; i < w->facts; i++) {
            bool seen = false; // a key may stand once only
            for (size_t k = 0; k < i && !seen; k++) seen = strcmp(w->fact[k].name, w->fact[i].name) == 0;
            if (seen) continue;
            json_key(&sheet->writer, w->fact[i].name);
            json_string(&sheet->writer, w->fact[i].value);
        }
        json_end_object(&sheet->writer);
        return;
    }
    for (size_t i = 0; i < w->facts && i < SHOWN; i++)
        sheet_line(sheet, i ? "" : "beside them", "%.100s: %.200s", w->fact[i].name, w->fact[i].value);
    if (w->facts > SHOWN) sheet_line(sheet, "", "and %zu more", w->facts - SHOWN);
}

Status inspect_weights(const char *path, Sheet *sheet) {
    static const char *const headers[] = {"name", "dtype", "shape", NULL};
    Weights w;
    int64_t elements = 0;
    TRY(weights_open(path, &w));
    for (size_t i = 0; i < w.count; i++) elements += w.tensor[i].elements;
    sheet_title(sheet, path, "weights", w.kind);
    sheet_count(sheet, "tensors", "tensors", (int64_t)w.count);
    sheet_count(sheet, "elements", "elements", elements);
    add_facts(&w, sheet);
    sheet_table(sheet, "weights", "weights", headers);
    for (size_t i = 0; i < w.count; i++) {
        const WeightsTensor *tensor = &w.tensor[i];
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", tensor->name);
        sheet_cell_text(sheet, "dtype", tensor->is_text ? "text" : element_name(tensor->type));
        sheet_cell_shape(sheet, "shape", tensor->shape, tensor->rank);
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
    weights_close(&w);
    return STATUS_OK;
}
