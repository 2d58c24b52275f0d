// HDF5 files of counts and patches with everything wrong that HDF5 itself allows. The first byte chooses one of the
// templates (tests/fuzz/templates, one for every layout and encoding; -DTEMPLATES elsewhere), the second the options of
// the reader, the rest are edits (h5_edit.h). No guard: the readers run in this process. The kept corpus lies in
// tests/fuzz/corpus/counts.
#define FUZZ_NAME "fuzz_counts"
#include "fuzz.h"

#include "../../runtime/data/compound.h"
#include "../../runtime/data/counts.h"
#include "../../runtime/data/hest.h"
#include "h5_edit.h"

#ifndef TEMPLATES
#define TEMPLATES "tests/fuzz/templates"
#endif
enum { MOST = 64 };

static void touch_column(const Column *c, size_t rows) {
    if (c->real) fuzz_touch(c->real, rows * sizeof *c->real);
    if (c->integer) fuzz_touch(c->integer, rows * sizeof *c->integer);
    if (c->flag) fuzz_touch(c->flag, rows);
    fuzz_touch_texts(c->text, c->text ? rows : 0);
    for (size_t i = 0; c->code && i < rows; i++)
        if (c->code[i] < -1 || (c->code[i] >= 0 && (size_t)c->code[i] >= c->categories))
            fuzz_broken("a code without category");
    fuzz_touch_texts(c->category, c->categories);
}

static void touch_matrix(const Matrix *m, size_t rows, size_t columns) {
    if (m->rows != rows || m->columns != columns) fuzz_broken("a matrix of another size than its frames");
    if (m->start[0] != 0) fuzz_broken("a matrix that does not begin at 0");
    for (size_t r = 0; r < m->rows; r++) {
        if (m->start[r + 1] < m->start[r]) fuzz_broken("starts that fall");
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++)
            if (m->column[e] < 0 || (size_t)m->column[e] >= m->columns || m->value[e] == 0 ||
                (e > m->start[r] && m->column[e] <= m->column[e - 1]))
                fuzz_broken("an entry that must not be");
    }
}

static void touch_annotated(const Annotated *a) {
    touch_matrix(&a->x, a->obs.rows, a->var.rows);
    fuzz_touch_texts(a->x.row_name, a->x.rows);
    fuzz_touch_texts(a->x.column_name, a->x.columns);
    fuzz_touch_texts(a->x.column_id, a->x.column_id ? a->x.columns : 0);
    for (size_t i = 0; i < a->obs.columns; i++) touch_column(&a->obs.column[i], a->obs.rows);
    for (size_t i = 0; i < a->var.columns; i++) touch_column(&a->var.column[i], a->var.rows);
    for (size_t i = 0; i < a->n_layers; i++) touch_matrix(&a->layer[i].matrix, a->obs.rows, a->layer[i].matrix.columns);
    for (size_t i = 0; i < a->n_embeddings; i++) {
        fuzz_touch(a->embedding[i].value, a->obs.rows * a->embedding[i].width * sizeof(double));
        fuzz_touch_texts(a->embedding[i].column, a->embedding[i].column ? a->embedding[i].width : 0);
    }
    for (size_t i = 0; i < a->n_libraries; i++) {
        const Picture *p[2] = {&a->library[i].lowres, &a->library[i].hires};
        for (int k = 0; k < 2; k++)
            if (p[k]->rgb) fuzz_touch(p[k]->rgb, p[k]->width * p[k]->height * 3);
    }
    fuzz_touch_texts(a->note, a->n_notes);
}

static void read_counts(const char *path, unsigned how, GuardLimits limits) {
    static char *genes[] = {"B", "MT-C", "E1", "nothing", "B-1"};
    CountsOptions o = {.threads = 1, .limits = limits};
    if (how & 1) o.genes = genes, o.n_genes = 2 + (how >> 1 & 3);
    if (how & 8) o.feature_type = "*";
    if (how & 16) o.only_x = true;
    if (how & 32) o.repeated_names = true;
    if (how & 64) o.layer = how & 128 ? "raw" : "counts";
    else o.section = how & 128 ? "S_7" : "S_1";
    o.genome = how & 2 ? "hg" : NULL;
    Annotated a;
    if (!fuzz_judge(counts_read(path, &o, &a), path)) return;
    touch_annotated(&a);
    annotated_free(&a);
}

static void read_patches(const char *path, GuardLimits limits) {
    static uint8_t pixels[1 << 16];
    HestPatches p;
    if (!fuzz_judge(hest_patches_read(path, NULL, limits, &p), path)) return;
    fuzz_touch_texts(p.barcode, p.count);
    fuzz_touch(p.coordinate, p.count * 2 * sizeof *p.coordinate);
    if (p.count && p.height && p.width && p.height < 100 && p.width < 100 &&
        fuzz_judge(hest_patches_pixels(path, &p, p.count - 1, 1, limits, pixels), path))
        fuzz_touch(pixels, p.height * p.width * 3);
    hest_patches_free(&p);
}

static void read_slides(const char *path, GuardLimits limits) {
    CompoundSlide *slides = NULL;
    CompoundImage image;
    size_t count = 0;
    if (fuzz_judge(compound_slides(path, limits, &slides, &count), path)) fuzz_touch(slides, count * sizeof *slides);
    free(slides);
    if (!fuzz_judge(compound_image_read(path, "S_1", limits, &image), path)) return;
    fuzz_touch(image.rgb, image.width * image.height * 3 * sizeof *image.rgb);
    compound_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static EditTemplate template[MOST];
    static size_t templates;
    if (templates == 0) {
        Arena arena;
        char **names = NULL;
        size_t count = 0;
        arena_init(&arena);
        Status status = directory_list(TEMPLATES, &arena, &names, &count);
        if (status != STATUS_OK) fuzz_broken(status_message(status));
        for (size_t i = 0; i < count && i < MOST; i++)
            template[templates++] = edit_template_file(path_join(&arena, TEMPLATES, names[i]));
        arena_free(&arena);
        if (templates == 0) fuzz_broken("there are no templates in " TEMPLATES);
    }
    if (size < 2) return 0;
    char path[300];
    size_t which = data[0] % templates;
    snprintf(path, sizeof path, "%s/edited.h5", fuzz_directory());
    if (!edit_apply(&template[which], data + 2, size - 2, path)) return 0;
    GuardLimits limits = {.in_process = true, .memory_bytes = (size_t)1 << 30, .results_bytes = (size_t)1 << 28};
    if (which + 1 == templates) read_patches(path, limits); // the last one
    else read_counts(path, data[1], limits);
    if (which + 2 >= templates) read_slides(path, limits);
    if (edit_open_objects() != 0) fuzz_broken("an HDF5 object stays open");
    unlink(path);
    return 0;
}
