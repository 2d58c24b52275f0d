// made: a scratch directory and tiny data sets for the data tests.
#pragma once

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <jpeglib.h> // needs stdio.h first

#include "../../runtime/core/files.h"
#include "../check_status.h"

static char made_root[512];

// A fresh directory, removed by made_end.
static inline void made_begin(void) {
    const char *base = getenv("TMPDIR");
    snprintf(made_root, sizeof made_root, "%s/stmc-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(made_root)) {
        perror(made_root);
        exit(3);
    }
}

static inline void made_end(void) {
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", made_root);
    if (system(command) != 0) printf("could not remove %s\n", made_root);
}

// folder/name in one of sixteen rotating buffers.
static inline const char *made_below(const char *folder, const char *name) {
    static char buffers[16][2048];
    static int next;
    char *buffer = buffers[next++ % 16];
    if (snprintf(buffer, sizeof buffers[0], "%s/%s", folder, name) >= (int)sizeof buffers[0]) exit(3);
    return buffer;
}

static inline const char *made_path(const char *name) {
    return made_below(made_root, name);
}

static inline void made_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(3);
    }
}

static inline void made_text(const char *path, const char *text) {
    made_file(path, text, strlen(text));
}

static inline void made_gzip(const char *path, const char *text) {
    gzFile file = gzopen(path, "wb");
    if (!file || gzwrite(file, text, (unsigned)strlen(text)) != (int)strlen(text) || gzclose(file) != Z_OK) {
        perror(path);
        exit(3);
    }
}

// Copies the first `keep` bytes (all if larger) and, if at >= 0, flips the bits `mask` of byte `at`.
static inline size_t made_damaged(const char *from, const char *to, size_t keep, long at, unsigned mask) {
    char *data = NULL;
    size_t size = 0;
    if (!CHECK_OK(file_read(from, (size_t)1 << 30, &data, &size))) exit(3);
    if (keep > size) keep = size;
    if (at >= 0 && (size_t)at < keep) data[at] = (char)(data[at] ^ (int)mask);
    made_file(to, data, keep);
    free(data);
    return size;
}

// The test picture: every channel a different formula; the same as in the recorded Pillow results.
static inline uint8_t *made_pixels(size_t width, size_t height) {
    uint8_t *rgb = malloc(width * height * 3);
    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            rgb[(y * width + x) * 3] = (uint8_t)(x * 7 + y * 3);
            rgb[(y * width + x) * 3 + 1] = (uint8_t)(x * x + 5 * y);
            rgb[(y * width + x) * 3 + 2] = (uint8_t)(x * y * 11 + 13 * x);
        }
    }
    return rgb;
}

// Entries of a directory, "." and ".." with them.
static inline size_t made_files_in(const char *path) {
    DIR *directory = opendir(path);
    size_t count = 0;
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    return count;
}

static inline void made_jpeg(const char *path, size_t width, size_t height) {
    uint8_t *rgb = made_pixels(width, height);
    FILE *file = fopen(path, "wb");
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr errors;
    encoder.err = jpeg_std_error(&errors);
    jpeg_create_compress(&encoder);
    jpeg_stdio_dest(&encoder, file);
    encoder.image_width = (JDIMENSION)width;
    encoder.image_height = (JDIMENSION)height;
    encoder.input_components = 3;
    encoder.in_color_space = JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, 95, TRUE);
    jpeg_start_compress(&encoder, TRUE);
    while (encoder.next_scanline < encoder.image_height) {
        JSAMPROW row = rgb + encoder.next_scanline * width * 3;
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    fclose(file);
    free(rgb);
}

// ---- A legacy ST directory of two sections, B1 and B2, six spots each ---------------------------

static const char *const made_spots =
    "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n"
    "2\t2\t2.0\t2.0\t50\t50\t1\n3\t2\t3.0\t2.0\t100\t50\t1\n4\t2\t4.0\t2.0\t150\t50\t1\n"
    "2\t3\t2.0\t3.0\t50\t100\t1\n3\t3\t3.0\t3.0\t100\t100\t1\n4\t3\t4.0\t3.0\t150\t100\t1\n"
    "5\t3\t5.0\t3.0\t200\t100\t0\n6\t3\t6.0\t3.0\t250\t100\t1\n"; // one unselected, one without counts

static const char *const made_counts[2] = {
    "\tACTB\tERBB2\tCD3D\n2x2\t5\t0\t1\n3x2\t0\t0\t2\n4x2\t7\t3\t0\n2x3\t1\t1\t1\n3x3\t0\t9\t0\n4x3\t2\t0\t70"
    "000\n",
    "\tCD3D\tMS4A1\tACTB\n4x3\t0\t4\t1\n3x3\t2\t2\t2\n2x3\t0\t0\t3\n4x2\t1\t0\t0\n3x2\t6\t0\t6\n2x2\t0\t5\t0"
    "\n",
};

static const char *const made_major[2] = {
    "\tTumour\tStroma, dense\tNK cells "
    "\n2x2\t0.5\t0.3\t0.2\n3x2\t0.2\t0.2\t0.6\n4x2\t0.1\t0.8\t0.1\n2x3\t1\t0\t0\n"
    "3x3\t0.25\t0.25\t0.5\n4x3\t0.3\t0.3\t0.4\n",
    "\tNK cells \tTumour\tStroma, "
    "dense\n4x3\t0.1\t0.2\t0.7\n3x3\t0.3\t0.3\t0.4\n2x3\t0\t0\t1\n4x2\t0.2\t0.5\t0.3\n"
    "3x2\t0.4\t0.3\t0.3\n2x2\t0.6\t0.2\t0.2\n9x9\t1\t0\t0\n", // other column order, one row too many
};

// Writes it below ROOT/name; returns the path.
static inline const char *made_legacy(const char *name) {
    static const char *const folders[] = {"counts", "spots", "images", "proportions"};
    const char *directory = made_path(name);
    mkdir(directory, 0777);
    for (int f = 0; f < 4; f++) mkdir(made_below(directory, folders[f]), 0777);
    for (int s = 0; s < 2; s++) {
        char file[64];
        snprintf(file, sizeof file, "counts/B%d.tsv.gz", s + 1);
        made_gzip(made_below(directory, file), made_counts[s]);
        snprintf(file, sizeof file, "spots/B%d_selection.tsv", s + 1);
        made_text(made_below(directory, file), made_spots);
        snprintf(file, sizeof file, "proportions/B%d_major.tsv", s + 1);
        made_text(made_below(directory, file), made_major[s]);
        snprintf(file, sizeof file, "images/B%d.jpg", s + 1);
        made_jpeg(made_below(directory, file), 260, 160);
    }
    return made_path(name);
}
