// source_legacy: trees of first-generation ST (legacy_st.h) as a source. Their arrays have spots 100 um wide and 200 um
// apart, which gives the lengths that the files do not state.
#include <math.h>
#include <string.h>

#include "legacy_st.h"
#include "source_inside.h"

static Status open_legacy(Source *source) {
    char **names = NULL;
    size_t count = 0;
    TRY(legacy_st_sections(source->path, &source->arena, &names, &count));
    TRY(source_items(source, count));
    for (size_t i = 0; i < count; i++) {
        source->section[i] = names[i];
        source->inside->item[i].path = source->path;
    }
    return STATUS_OK;
}

// Slope of a straight line through pixels over array positions along one axis; NaN if the spots span none.
static double slope(const Section *s, size_t axis) {
    double n = (double)s->n_spots, a = 0, p = 0, aa = 0, ap = 0;
    for (size_t i = 0; i < s->n_spots; i++) {
        a += s->array_exact[2 * i + axis] / n;
        p += s->pixel[2 * i + axis] / n;
    }
    for (size_t i = 0; i < s->n_spots; i++) {
        double step = s->array_exact[2 * i + axis] - a;
        aa += step * step;
        ap += step * (s->pixel[2 * i + axis] - p);
    }
    return aa > 0.25 && ap > 0 ? ap / aa : NAN;
}

static Status read_legacy(const Source *source, const SourceItem *item, char *const *tables, size_t n_tables,
                          Section *s) {
    (void)tables, (void)n_tables; // all tables are files
    TRY(legacy_st_fill(item->path, s->name, NULL, 0, s));
    double x = slope(s, 0), y = slope(s, 1), pitch = isnan(x) ? y : isnan(y) ? x : (x + y) / 2;
    s->picture_scale = 1;
    if (isfinite(pitch)) {
        s->spot_diameter = pitch / 2;
        s->microns_per_pixel = 200 / pitch;
    }
    if (source->options.image) {
        size_t kept = 0;
        for (size_t i = 0; i < s->n_inputs; i++) // the picture in images/ is not read
            if (!s->image_path || strcmp(s->inputs[i], s->image_path) != 0) s->inputs[kept++] = s->inputs[i];
        s->n_inputs = kept;
        TRY(ARENA_COPY(&s->arena, s->image_path, source->options.image, strlen(source->options.image)));
        s->no_picture = NULL;
        TRY(section_input(s, s->image_path));
    }
    if (source->options.no_counts) {
        s->n_genes = 0;
        for (size_t i = 0; i <= s->n_spots; i++) s->indptr[i] = 0;
    }
    return STATUS_OK;
}

const SourceMethods source_legacy_st = {open_legacy, read_legacy, NULL};
