// image_jpeg_trap: see image_jpeg_trap.h.
#include "image_jpeg_trap.h"

#include <string.h>

#include <jerror.h>

enum { MOST_SCANS = 400 };

static void on_error(j_common_ptr common) {
    JpegTrap *trap = (JpegTrap *)(void *)common->err;
    common->err->format_message(common, trap->message);
    longjmp(trap->escape, 1);
}

// Three warnings say nothing about lost pixels.
static void on_message(j_common_ptr common, int level) {
    if (level >= 0) return; // trace output
    JpegTrap *trap = (JpegTrap *)(void *)common->err;
    int code = common->err->msg_code;
    if (code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM) return;
    if (!trap->damaged) common->err->format_message(common, trap->message);
    trap->damaged = true;
}

static void on_output(j_common_ptr common) {
    (void)common;
}

static void on_progress(j_common_ptr common) {
    JpegTrap *trap = (JpegTrap *)(void *)common->err;
    if (((j_decompress_ptr)common)->input_scan_number <= MOST_SCANS) return;
    snprintf(trap->message, sizeof trap->message, "more than %d passes over the picture", MOST_SCANS);
    longjmp(trap->escape, 1);
}

struct jpeg_error_mgr *jpeg_trap_begin(JpegTrap *trap) {
    trap->message[0] = '\0';
    trap->damaged = false;
    jpeg_std_error(&trap->errors);
    trap->errors.error_exit = on_error;
    trap->errors.emit_message = on_message;
    trap->errors.output_message = on_output;
    return &trap->errors;
}

void jpeg_trap_limit(JpegTrap *trap, struct jpeg_decompress_struct *decoder, uint64_t bytes) {
    const uint64_t most = (uint64_t)4 << 30, base = (uint64_t)64 << 20;
    uint64_t limit = bytes > (most - base) / 1024 ? most : base + bytes * 1024;
    decoder->mem->max_memory_to_use = (long)limit;
    memset(&trap->progress, 0, sizeof trap->progress);
    trap->progress.progress_monitor = on_progress;
    decoder->progress = &trap->progress;
}
