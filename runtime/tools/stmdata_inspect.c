// stmdata_inspect: tells what a file is by its first bytes (never by its name alone) and hands it to who knows more.
// Here: pictures, stores, HDF5 in general. Counts stand in stmdata_counts.c, weights and text in files of their own.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../core/files.h"
#include "../data/guard.h"
#include "../data/h5.h"
#include "../data/h5_foreign.h"
#include "../data/hest.h"
#include "../data/slide.h"
#include "../data/store.h"
#include "stmdata.h"

// ---- By the first bytes -------------------------------------------------------------------------

static bool starts(const unsigned char *bytes, size_t got, const char *magic, size_t length) {
    return got >= length && memcmp(bytes, magic, length) == 0;
}

// safetensors: the length of the JSON header, then its brace.
static bool like_safetensors(const unsigned char *bytes, size_t got, uint64_t size) {
    uint64_t length = 0;
    if (got < 9 || bytes[8] != '{') return false;
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    return length >= 2 && length <= size - 8;
}

Status look_at(const char *path, FileLook *out) {
    unsigned char bytes[16] = {0};
    uint64_t size = 0;
    size_t got = 0;
    TRY(file_head(path, bytes, sizeof bytes, &got, &size));
    *out = LOOK_OTHER;
    if (got == 0) *out = LOOK_EMPTY;
    else if (starts(bytes, got, "\x89HDF\r\n\x1a\n", 8)) *out = LOOK_HDF5;
    else if (starts(bytes, got, "\xFF\xD8\xFF", 3) || starts(bytes, got, "\x89PNG", 4) ||
             starts(bytes, got, "II*\0", 4) || starts(bytes, got, "MM\0*", 4) || starts(bytes, got, "II+\0", 4) ||
             starts(bytes, got, "MM\0+", 4))
        *out = LOOK_PICTURE;
    else if (starts(bytes, got, "PK\3\4", 4)) *out = LOOK_ZIP;
    else if (starts(bytes, got, "\x93NUMPY", 6)) *out = LOOK_NPY;
    else if (starts(bytes, got, "PAR1", 4)) *out = LOOK_PARQUET;
    else if (like_safetensors(bytes, got, size)) *out = LOOK_SAFETENSORS;
    else if (bytes[0] == 0x80 && got > 2 && bytes[1] >= 2 && bytes[1] <= 5) *out = LOOK_PICKLE;
    return STATUS_OK;
}

// ---- HDF5 ---------------------------------------------------------------------------------------

static Status find_genomes(const ForeignFile *f, Arena *arena, Hdf5Content *content) {
    char **names = NULL;
    size_t count = 0;
    TRY(foreign_groups_with(f, "barcodes", arena, &names, &count));
    for (size_t i = 0; i < count && content->n_genomes < MOST_GENOMES; i++)
        if (strlen(names[i]) < GENOME_NAME && strcmp(names[i], "matrix") != 0)
            snprintf(content->genome[content->n_genomes++], GENOME_NAME, "%s", names[i]);
    return STATUS_OK;
}

static Status look_inside(void *context, GuardBlock *block) {
    const char *path = context;
    ForeignFile file;
    Arena arena;
    Hdf5Content *content = GUARD_NEW(block, Hdf5Content, 1);
    if (!content) return guard_exhausted(block, path, 1, sizeof *content);
    TRY(foreign_open(path, &file));
    arena_init(&arena);
    char *format = NULL;
    ForeignKind picture = FOREIGN_NOTHING, places = FOREIGN_NOTHING;
    Status status = foreign_text_attribute(&file, file.file, "format", &arena, &format);
    if (status == STATUS_OK) status = foreign_kind(&file, file.file, "img", &picture);
    if (status == STATUS_OK) status = foreign_kind(&file, file.file, "coords", &places);
    if (status == STATUS_OK) status = find_genomes(&file, &arena, content);
    content->look = format && strcmp(format, "stmc-store") == 0               ? HDF5_STORE
                    : picture == FOREIGN_DATASET && places == FOREIGN_DATASET ? HDF5_PATCHES
                                                                              : HDF5_COUNTS;
    block->result = content;
    arena_free(&arena);
    foreign_close(&file);
    return status;
}

Status hdf5_look(const char *path, Hdf5Content *out) {
    GuardBlock block;
    TRY(guard_run(path, (GuardLimits){0}, look_inside, (void *)path, &block));
    const Hdf5Content *content = block.result;
    bool sound = content && guard_holds(&block, content, 1, sizeof *content) && content->n_genomes <= MOST_GENOMES &&
                 content->look <= HDF5_PATCHES;
    if (sound) *out = *content;
    guard_block_free(&block);
    for (size_t i = 0; sound && i < out->n_genomes; i++) out->genome[i][GENOME_NAME - 1] = 0;
    return sound ? STATUS_OK
                 : status_make(STATUS_MALFORMED, "%s: reading it went astray; copy or download it again", path);
}

static Status inspect_patches(const char *path, Sheet *sheet) {
    HestPatches patches;
    TRY(hest_patches_read(path, NULL, (GuardLimits){0}, &patches));
    sheet_title(sheet, path, "patches", "patches of HEST-1k");
    sheet_count(sheet, "patches", "patches", (int64_t)patches.count);
    sheet_line(sheet, "size", "%zu x %zu pixels", patches.width, patches.height);
    sheet_count(sheet, "width", NULL, (int64_t)patches.width);
    sheet_count(sheet, "height", NULL, (int64_t)patches.height);
    hest_patches_free(&patches);
    return STATUS_OK;
}

Status inspect_hdf5(const Arguments *arguments, const char *path, Sheet *sheet) {
    Hdf5Content content;
    TRY(hdf5_look(path, &content));
    if (content.look == HDF5_STORE) return inspect_store(path, sheet);
    if (content.look == HDF5_PATCHES) return inspect_patches(path, sheet);
    return inspect_counts(arguments, path, sheet);
}

// ---- Pictures -----------------------------------------------------------------------------------

Status inspect_picture(const char *path, Sheet *sheet) {
    static const char *const level_columns[] = {"level", "pixels", "downsample", "blocks", "place", NULL};
    static const char *const extra_columns[] = {"what", "pixels", "place", NULL};
    Slide *slide = NULL;
    TRY(slide_open(path, NULL, &slide));
    SlideInfo info = slide_info(slide);
    sheet_title(sheet, path, "image", slide_format_name(info.format));
    sheet_line(sheet, "size", "%zu x %zu pixels", info.width, info.height);
    sheet_count(sheet, "width", NULL, (int64_t)info.width);
    sheet_count(sheet, "height", NULL, (int64_t)info.height);
    sheet_count(sheet, "levels", "levels", (int64_t)info.n_levels);
    sheet_number(sheet, "mpp_x", "pixel", info.mpp_x, "µm");
    sheet_number(sheet, "mpp_y", info.mpp_y != info.mpp_x ? "pixel height" : NULL, info.mpp_y, "µm");
    sheet_number(sheet, "magnification", "magnification", info.magnification, "");
    if (info.format <= SLIDE_OME || sheet->json) {
        sheet_table(sheet, "level", "pyramid", level_columns);
        for (size_t i = 0; i < info.n_levels; i++) {
            SlideLevel level = slide_level(slide, i);
            int64_t pixels[2] = {(int64_t)level.width, (int64_t)level.height};
            char blocks[64];
            snprintf(blocks, sizeof blocks, "%s %zu x %zu", level.tiled ? "tiles" : "strips", level.tile_width,
                     level.tile_height);
            sheet_row(sheet);
            sheet_cell_count(sheet, NULL, (int64_t)i);
            sheet_cell_shape(sheet, "size", pixels, 2);
            sheet_cell_number(sheet, "downsample", level.downsample);
            sheet_cell_text(sheet, "blocks", blocks);
            sheet_cell_text(sheet, "place", level.place);
            sheet_row_end(sheet);
        }
        sheet_table_end(sheet);
    }
    if (info.n_extras) {
        sheet_table(sheet, "extras", "other pages", extra_columns);
        for (size_t i = 0; i < info.n_extras; i++) {
            SlideExtra extra = slide_extra(slide, i);
            int64_t pixels[2] = {(int64_t)extra.width, (int64_t)extra.height};
            sheet_row(sheet);
            sheet_cell_text(sheet, "what", slide_extra_name(extra.kind));
            sheet_cell_shape(sheet, "size", pixels, 2);
            sheet_cell_text(sheet, "place", extra.place);
            sheet_row_end(sheet);
        }
        sheet_table_end(sheet);
    }
    slide_close(slide);
    return STATUS_OK;
}

// ---- Stores -------------------------------------------------------------------------------------

static void store_sections(const StoreInfo *info, Sheet *sheet) {
    static const char *const headers[] = {"section", "spots", "entries", "picture", "pixels per array step", NULL};
    sheet_table(sheet, "sections", "sections", headers);
    for (size_t i = 0; i < info->n_sections; i++) {
        const StoreSection *s = &info->sections[i];
        int64_t picture[2] = {(int64_t)s->image_width, (int64_t)s->image_height};
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", s->name);
        sheet_cell_count(sheet, "spots", (int64_t)s->n_spots);
        sheet_cell_count(sheet, "nnz", (int64_t)s->nnz);
        sheet_cell_shape(sheet, "picture", picture, 2);
        sheet_cell_number(sheet, "pitch", 0.5 * (s->pitch_x + s->pitch_y));
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
}

static void store_tables(const StoreInfo *info, Sheet *sheet) {
    static const char *const headers[] = {"table", "columns", "first column", NULL};
    if (info->n_tables == 0 && !sheet->json) return;
    sheet_table(sheet, "tables", "tables", headers);
    for (size_t t = 0; t < info->n_tables; t++) {
        const StoreTable *table = &info->tables[t];
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", table->name);
        sheet_cell_count(sheet, "columns", (int64_t)table->n_columns);
        sheet_cell_text(sheet, "first", table->n_columns ? table->columns[0] : "");
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
}

// What version 2 may hold beside spots.
static void store_extras(const StoreInfo *info, Sheet *sheet) {
    static const char *const widths[] = {"features", "columns", NULL}, *const parts[] = {"split", "parts", NULL};
    sheet_names(sheet, "neighbours", "neighbours", info->graphs, info->n_graphs);
    if (info->n_features || sheet->json) {
        sheet_table(sheet, "features", "features", widths);
        for (size_t i = 0; i < info->n_features; i++) {
            sheet_row(sheet);
            sheet_cell_text(sheet, "name", info->features[i].name);
            sheet_cell_count(sheet, "columns", (int64_t)info->features[i].width);
            sheet_row_end(sheet);
        }
        sheet_table_end(sheet);
    }
    if (info->n_splits == 0 && !sheet->json) return;
    sheet_table(sheet, "splits", "splits", parts);
    for (size_t i = 0; i < info->n_splits; i++) {
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", info->splits[i].name);
        sheet_cell_count(sheet, "parts", (int64_t)info->splits[i].n_parts);
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
}

Status inspect_store(const char *path, Sheet *sheet) {
    Store *store = NULL;
    TRY(store_open(path, &store));
    const StoreInfo *info = store_info(store);
    int64_t nnz = 0;
    for (size_t i = 0; i < info->n_sections; i++) nnz += (int64_t)info->sections[i].nnz;
    sheet_title(sheet, path, "store", "stmc store");
    sheet_text(sheet, "program", "written by", info->program);
    sheet_count(sheet, "version", "store version", info->version);
    sheet_count(sheet, "obs", "spots", (int64_t)info->n_spots);
    sheet_count(sheet, "var", "genes", (int64_t)info->n_genes);
    sheet_count(sheet, "nnz", "entries", nnz);
    char step[64] = "";
    if (info->tile_pitch > 0) snprintf(step, sizeof step, ", %.6g per array step", info->tile_pitch);
    if (info->tile_size == 0) sheet_line(sheet, "tiles", "none");
    else
        sheet_line(sheet, "tiles", "%zu x %zu pixels%s, %s, edges %s, kept as %s", info->tile_size, info->tile_size,
                   step, info->filter, info->edge, info->encoding);
    sheet_count(sheet, "tile_size", NULL, (int64_t)info->tile_size);
    sheet_number(sheet, "tile_pitch", NULL, info->tile_pitch, "");
    sheet_text(sheet, "tile_filter", NULL, info->filter);
    sheet_text(sheet, "tile_encoding", NULL, info->encoding);
    store_sections(info, sheet);
    store_tables(info, sheet);
    store_extras(info, sheet);
    store_close(store);
    return STATUS_OK;
}

// ---- The command --------------------------------------------------------------------------------

static Status inspect_file(const Arguments *arguments, const char *path, Sheet *sheet) {
    FileLook look;
    TRY(look_at(path, &look));
    switch (look) {
    case LOOK_EMPTY: return status_make(STATUS_MALFORMED, "%s: the file is empty", path);
    case LOOK_HDF5: return inspect_hdf5(arguments, path, sheet);
    case LOOK_PICTURE: return inspect_picture(path, sheet);
    case LOOK_SAFETENSORS:
    case LOOK_ZIP:
    case LOOK_PICKLE:
    case LOOK_NPY: return inspect_weights(path, sheet);
    case LOOK_PARQUET:
    case LOOK_OTHER: break;
    }
    return inspect_text(arguments, path, sheet);
}

Status command_inspect(const Arguments *arguments) {
    const char *path = arguments->words[0];
    Sheet sheet;
    sheet_begin(&sheet, arguments->json);
    Status status =
        is_directory(path) ? inspect_directory(arguments, path, &sheet) : inspect_file(arguments, path, &sheet);
    if (status == STATUS_OK) return sheet_print(&sheet);
    sheet_drop(&sheet);
    return status;
}
