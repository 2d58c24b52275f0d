// source_elucidata: the HDF5 file of the Elucidata challenge as a source (compound.h): places and abundances from the
// table of a slide, its image in bytes (value * 255, rounded).
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "compound.h"
#include "source_inside.h"

static char abundances[] = "abundances";

static Status open_elucidata(Source *source) {
    CompoundSlide *slides = NULL;
    size_t count = 0, n = 0;
    if (is_directory(source->path))
        return status_make(STATUS_INVALID, "%s: the Elucidata layout is one HDF5 file, not a directory", source->path);
    TRY(compound_slides(source->path, source->options.limits, &slides, &count));
    Status status = source_items(source, count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        const CompoundSlide *slide = &slides[i];
        if (slide->spots == 0 || slide->width == 0 || slide->height == 0) continue;
        source->inside->item[n].path = source->path;
        status = ARENA_COPY(&source->arena, source->section[n], slide->name, strlen(slide->name));
        n++;
    }
    free(slides);
    TRY(status);
    source->count = n;
    if (n == 0)
        return status_make(STATUS_NOT_FOUND,
                           "%s: none of its %zu slides has both spots (spots/Train/SLIDE) and an image "
                           "(images/Train/SLIDE)",
                           source->path, count);
    return STATUS_OK;
}

static Status read_slide(const Source *source, const SourceItem *item, Annotated *out) {
    CountsOptions options = {.section = source->section[item - source->inside->item], .limits = source->options.limits};
    return counts_read(item->path, &options, out);
}

static Status elucidata_tables(const Source *source, const SourceItem *item, Arena *arena, char ***out_names,
                               size_t *out_count) {
    Annotated a = {0};
    TRY(read_slide(source, item, &a));
    *out_count = a.has_x;
    annotated_free(&a);
    TRY(ARENA_NEW(arena, *out_names, 1));
    return ARENA_COPY(arena, **out_names, abundances, strlen(abundances));
}

static Status take_image(const Source *source, const SourceItem *item, Section *s) {
    CompoundImage image = {0};
    s->picture_scale = 1;
    if (source->options.image) {
        TRY(ARENA_COPY(&s->arena, s->image_path, source->options.image, strlen(source->options.image)));
        return section_input(s, s->image_path);
    }
    TRY(compound_image_read(item->path, s->name, source->options.limits, &image));
    Status status = picture_create(image.width, image.height, (size_t)1 << 33, &s->picture);
    for (size_t i = 0; status == STATUS_OK && i < image.width * image.height * 3; i++) {
        float value = image.rgb[i] * 255.0f;
        s->picture.rgb[i] = value >= 255 ? 255 : value > 0 ? (uint8_t)(value + 0.5f) : 0; // NaN: 0
    }
    compound_image_free(&image);
    return status;
}

static Status fill(const SourceItem *item, const Annotated *a, size_t n_tables, Section *s) {
    const Embedding *spatial = annotated_embedding(a, "spatial");
    const Matrix *m = &a->x;
    size_t *pick = NULL;
    if (!spatial) return status_make(STATUS_INTERNAL, "%s: a table was read without positions", item->path);
    TRY(source_spots(s, m->rows));
    TRY(ARENA_NEW(&s->arena, pick, m->rows + 1));
    for (size_t i = 0; i < m->rows; i++) {
        pick[i] = i;
        memcpy(s->pixel + 2 * i, spatial->value + 2 * i, 2 * sizeof *s->pixel);
        TRY(ARENA_COPY(&s->arena, s->ids[i], m->row_name[i], strlen(m->row_name[i])));
    }
    TRY(source_spot_values(&a->obs, pick, s));
    TRY(ARENA_NEW(&s->arena, s->tables, n_tables + 1));
    if (n_tables == 0) return STATUS_OK;
    SpotTable *t = &s->tables[0];
    t->name = arena_copy(&s->arena, abundances, strlen(abundances));
    if (!t->name) return arena_exhausted(1, 16);
    t->n_columns = m->columns;
    TRY(ARENA_NEW(&s->arena, t->columns, m->columns + 1));
    TRY(ARENA_NEW(&s->arena, t->values, m->rows * m->columns + 1));
    for (size_t c = 0; c < m->columns; c++)
        TRY(ARENA_COPY(&s->arena, t->columns[c], m->column_name[c], strlen(m->column_name[c])));
    for (size_t r = 0; r < m->rows; r++) matrix_row(m, r, t->values + r * m->columns);
    for (size_t i = 1; i < n_tables; i++) s->tables[i] = *t; // asked for twice
    s->n_tables = n_tables;
    return STATUS_OK;
}

static Status read_elucidata(const Source *source, const SourceItem *item, char *const *tables, size_t n_tables,
                             Section *s) {
    Annotated a = {0};
    TRY(section_input(s, item->path));
    TRY(read_slide(source, item, &a));
    Status status = STATUS_OK;
    for (size_t t = 0; t < n_tables && status == STATUS_OK; t++)
        if (strcmp(tables[t], abundances) != 0 || !a.has_x) status = source_no_table(source, item, tables[t]);
    if (status == STATUS_OK) status = fill(item, &a, n_tables, s);
    if (status == STATUS_OK) status = source_notes(&a, s);
    annotated_free(&a);
    TRY(status);
    return take_image(source, item, s);
}

const SourceMethods source_elucidata = {open_elucidata, read_elucidata, elucidata_tables};
