// events: TensorBoard scalars. A record is a TFRecord (length, masked CRC-32C of it, data, masked CRC-32C of
// the data) holding a serialised tensorflow.Event. The two messages have six fields in all, so their wire
// format is written by hand.
#pragma once

#include <stdint.h>

#include "journal.h"

// The first record of a file: its version.
MUST_USE Status events_header(Journal *journal, double wall_time);
// One scalar at a step.
MUST_USE Status events_scalar(Journal *journal, double wall_time, int64_t step, const char *tag, float value);

// CRC-32C (Castagnoli), for tests.
uint32_t crc32c(const void *data, size_t size);
