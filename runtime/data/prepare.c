// prepare: see prepare.h. The first pass, where one is needed, reads every section's counts and decides on genes and
// splits; the second reads, cuts and writes one section at a time. What the first pass read is kept as long as it is
// small.
#include "prepare.h"

#include <string.h>

#include "prepare_inside.h"

static const size_t HELD_BYTES = (size_t)512 << 20; // of sections kept between the passes
static const double FIRST_PASS = 0.25;              // of the work that a section is in the second pass

PrepareOptions prepare_defaults(void) {
    return (PrepareOptions){
        .program = "stmc",
        .tiles = {.size = 78, .pitch = 26, .filter = RESAMPLE_BILINEAR, .edge = SLIDE_EDGE_REPLICATE},
        .all_tables = true,
        .thumbnail_side = 1500,
    };
}

void prepare_report_free(PrepareReport *report) {
    text_free(&report->notes);
    *report = (PrepareReport){0};
}

// ---- Progress -----------------------------------------------------------------------------------

bool prepare_progress(const Preparation *work, const char *stage, double fraction) {
    if (!work->options->progress) return true;
    char what[96];
    Text text = {0};
    if (work->now) text_printf(&text, "%s: ", work->now);
    text_add(&text, stage);
    size_t n = text.length < sizeof what - 1 ? text.length : sizeof what - 1;
    memcpy(what, text_string(&text), n);
    what[n] = '\0';
    text_free(&text);
    return work->options->progress(work->options->context, what, (work->done + fraction * work->unit) / work->total);
}

Status prepare_going(const Preparation *work, const char *stage, double fraction) {
    if (prepare_progress(work, stage, fraction)) return STATUS_OK;
    return status_make(STATUS_CANCELLED, "stopped on request (%s)", stage);
}

static void begin_unit(Preparation *work, const char *now, double size) {
    work->done += work->unit;
    work->unit = size;
    work->now = now;
}

// ---- Sections -----------------------------------------------------------------------------------

// The asked-for sections, checked against those there are, in the order of the source.
static Status choose_sections(Preparation *work) {
    const PrepareOptions *o = work->options;
    const Source *source = work->source;
    TRY(ARENA_NEW(&work->arena, work->section, source->count + 1));
    for (size_t k = 0; k < o->n_sections && o->sections; k++) {
        bool there = false;
        for (size_t i = 0; i < source->count; i++) there = there || strcmp(source->section[i], o->sections[k]) == 0;
        if (there) continue;
        const char *close = closest_name(o->sections[k], (const char *const *)source->section, source->count);
        return status_make(STATUS_NOT_FOUND, "%s has no section '%s'%s%s%s", source->path, o->sections[k],
                           close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
    }
    for (size_t i = 0; i < source->count; i++) {
        bool wanted = o->sections == NULL;
        for (size_t k = 0; k < o->n_sections && o->sections; k++)
            wanted = wanted || strcmp(source->section[i], o->sections[k]) == 0;
        if (wanted) work->section[work->n_sections++] = i;
    }
    return work->n_sections ? STATUS_OK : status_make(STATUS_INVALID, "no sections were chosen");
}

// The store that is added to: none of its sections may come again.
static Status open_old(Preparation *work) {
    TRY(store_open(work->path, &work->old));
    const StoreInfo *info = store_info(work->old);
    if (info->version != STORE_FORMAT_VERSION)
        return status_make(
            STATUS_UNSUPPORTED,
            "%s is a store of version %d; sections are added to stores of version %d: prepare all of them "
            "anew",
            work->path, info->version, STORE_FORMAT_VERSION);
    for (size_t i = 0; i < work->n_sections; i++)
        for (size_t k = 0; k < info->n_sections; k++)
            if (strcmp(section_name(work, i), info->sections[k].name) == 0)
                return status_make(
                    STATUS_INVALID,
                    "%s has a section %s already; name the sections that are to be added, or prepare all "
                    "of them anew",
                    work->path, info->sections[k].name);
    return STATUS_OK;
}

// A section with the spots that are kept, and which rows of the source they are.
typedef struct Reading {
    Section section;
    size_t *row, n_before;
} Reading;

static Status read_section(Preparation *work, size_t number, Reading *out) {
    *out = (Reading){0};
    TRY(prepare_going(work, "reading", 0));
    Status status = source_read(work->source, work->section[number], work->read, work->n_read, &out->section);
    if (status != STATUS_OK) return status;
    if (out->section.n_spots == 0) status = status_make(STATUS_MALFORMED, "there are no spots");
    if (status == STATUS_OK) status = section_filter(work, &out->section, &out->row, &out->n_before);
    if (status != STATUS_OK) section_free(&out->section);
    return status_context(status, "section %s", section_name(work, number));
}

// ---- The first pass -----------------------------------------------------------------------------

static Status gather_section(Preparation *work, Gathering *gathering, size_t number, Reading *held, char **group) {
    Reading reading;
    begin_unit(work, section_name(work, number), FIRST_PASS);
    TRY(read_section(work, number, &reading));
    Section *section = &reading.section;
    Status status = gathering ? gathering_add(gathering, section, number) : STATUS_OK;
    if (status == STATUS_OK && section->group)
        status = ARENA_COPY(&work->arena, *group, section->group, strlen(section->group));
    size_t bytes = section->arena.reserved + section->picture.width * section->picture.height * 3;
    if (status == STATUS_OK && work->held_bytes + bytes <= HELD_BYTES) {
        work->held_bytes += bytes;
        *held = reading;
    } else {
        section_free(section);
    }
    return status_context(status, "section %s", section_name(work, number));
}

static Status first_pass(Preparation *work, Reading *held, bool counts) {
    Gathering *gathering = NULL;
    char **group = NULL;
    TRY(ARENA_NEW(&work->arena, group, work->n_sections));
    Status status = counts ? gathering_create(work, &gathering) : STATUS_OK;
    for (size_t i = 0; i < work->n_sections && status == STATUS_OK; i++)
        status = gather_section(work, gathering, i, &held[i], &group[i]);
    begin_unit(work, NULL, 2 * FIRST_PASS);
    if (status == STATUS_OK) status = gathering ? gathering_decide(gathering) : choices_alone(work);
    gathering_free(gathering);
    if (status == STATUS_OK) status = splits_plan(work, group);
    return status;
}

static Status decide(Preparation *work, Reading *held) {
    bool counts = choices_need_counts(work);
    work->total = (double)work->n_sections;
    if (!counts && !splits_need_groups(work->options)) {
        TRY(choices_alone(work));
        return splits_plan(work, NULL);
    }
    work->total += FIRST_PASS * (double)(work->n_sections + 2);
    return first_pass(work, held, counts);
}

// ---- The second pass ----------------------------------------------------------------------------

static Status write_section(Preparation *work, size_t number, Reading *reading, JsonWriter *inputs,
                            JsonWriter *left_out) {
    Section *section = &reading->section;
    size_t n_filtered = reading->n_before - section->n_spots;
    StoreSectionExtra extra = {0};
    TileJob *job = NULL;
    note_section(section, n_filtered, &work->report->notes);
    TRY(prepare_going(work, "tables", 0.05));
    TRY(tables_fill(work, section));
    TRY(prepare_going(work, "neighbours and features", 0.15));
    TRY(lists_fill(work, section, number, reading->row, reading->n_before, &section->arena, &extra));
    TRY(prepare_going(work, "picture", 0.2));
    TRY(tiles_begin(work, section, &job, &extra));
    Status status = describe_inputs(work, section, inputs);
    if (status == STATUS_OK) status = describe_left_out(section, n_filtered, left_out);
    extra.inputs = text_string(&inputs->text);
    extra.left_out = text_string(&left_out->text);
    if (status == STATUS_OK) status = store_add_section(work->writer, section, &extra);
    tiles_end(job);
    work->report->n_sections++;
    work->report->n_spots += section->n_spots;
    work->report->n_left_out += section->n_without_counts;
    work->report->n_filtered += n_filtered;
    return status;
}

static Status second_pass(Preparation *work, Reading *held) {
    for (size_t i = 0; i < work->n_sections; i++) {
        Reading reading = held[i];
        begin_unit(work, section_name(work, i), 1);
        held[i] = (Reading){0};
        if (reading.section.n_spots == 0) TRY(read_section(work, i, &reading));
        JsonWriter inputs = json_writer(0), left_out = json_writer(0);
        Status status = write_section(work, i, &reading, &inputs, &left_out);
        json_writer_free(&inputs);
        json_writer_free(&left_out);
        section_free(&reading.section);
        TRY_IN(status, "section %s", section_name(work, i));
    }
    return STATUS_OK;
}

// ---- The store ----------------------------------------------------------------------------------

static Status create_store(Preparation *work) {
    const PrepareOptions *o = work->options;
    char edge[32];
    StoreParameters parameters = {.program = o->program, .filter = "none", .edge = "none", .pool = o->pool};
    if (!o->no_tiles) {
        parameters.tile_size = o->tiles.size;
        parameters.tile_pitch = o->tiles.pitch;
        parameters.filter = tiles_filter_name(o->tiles.filter);
        parameters.edge = tiles_edge_name(&o->tiles, edge);
        parameters.jpeg = o->tiles.jpeg;
        parameters.deflate = o->tiles.deflate;
    }
    JsonWriter provenance = json_writer(0);
    Status status = describe_parameters(work, &provenance);
    parameters.provenance = text_string(&provenance.text);
    if (status == STATUS_OK) status = store_create(work->path, &parameters, &work->writer);
    json_writer_free(&provenance);
    return status;
}

static Status begin_store(Preparation *work) {
    if (!work->options->append) return create_store(work);
    TRY(compare_parameters(work));
    store_close(work->old);
    work->old = NULL;
    TRY(store_append(work->path, -1, &work->writer));
    store_parameters(work->writer)->pool = work->options->pool;
    return STATUS_OK;
}

static Status check_options(const PrepareOptions *o) {
    if (o->thumbnail_side == 0) return status_make(STATUS_INVALID, "a thumbnail side of 0 pixels");
    TRY(tiles_check(o));
    return splits_check(o);
}

static Status prepare_all(Preparation *work) {
    Reading *held = NULL;
    TRY(check_options(work->options));
    TRY(choose_sections(work));
    if (work->options->append) TRY(open_old(work));
    TRY(tables_plan(work));
    TRY(ARENA_NEW(&work->arena, held, work->n_sections));
    Status status = decide(work, held);
    if (status == STATUS_OK) status = begin_store(work);
    if (status == STATUS_OK) status = second_pass(work, held);
    for (size_t i = 0; i < work->n_sections; i++) section_free(&held[i].section);
    if (status == STATUS_OK) return store_finish(work->writer);
    store_abandon(work->writer);
    return status;
}

Status prepare_store(const Source *source, const char *path, const PrepareOptions *options, PrepareReport *out_report) {
    Preparation work = {.source = source, .options = options, .path = path, .report = out_report};
    *out_report = (PrepareReport){0};
    arena_init(&work.arena);
    Status status = prepare_all(&work);
    choices_free(&work);
    store_close(work.old);
    arena_free(&work.arena);
    if (status == STATUS_OK) status = text_status(&out_report->notes);
    if (status != STATUS_OK) prepare_report_free(out_report);
    return status_context(status, "prepare");
}
