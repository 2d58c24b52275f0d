// image_jpeg_trap: how libjpeg's errors, warnings and appetite are kept in hand. Internal to runtime/data.
//
// libjpeg leaves by longjmp on errors and goes on with grey blocks on damage. Whoever uses it puts a JpegTrap first
// into its state, sets a return point with setjmp(trap->escape) before each group of calls, and looks at
// `damaged` afterwards. Functions that set a return point keep nothing in need of freeing except in their state.
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h> // needs stdio.h first

typedef struct JpegTrap {
    struct jpeg_error_mgr errors; // first: the library's pointer to it is a pointer to the trap
    jmp_buf escape;
    char message[JMSG_LENGTH_MAX]; // the first complaint
    bool damaged;                  // a warning that means lost picture data came
    struct jpeg_progress_mgr progress;
} JpegTrap;

// The value for the `err` field of a (de)compressor. Clears message and `damaged`.
struct jpeg_error_mgr *jpeg_trap_begin(JpegTrap *trap);

// After jpeg_create_decompress and before jpeg_start_decompress: bounds what a progressive stream of `bytes` bytes may
// take. Memory for its coefficients: 64 MiB and 1,024 bytes for each byte of the stream (a block of 128 bytes needs at
// least one bit), never above 4 GiB. Passes over them: 400.
void jpeg_trap_limit(JpegTrap *trap, struct jpeg_decompress_struct *decoder, uint64_t bytes);
