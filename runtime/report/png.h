// png: writing 8-bit RGB pictures as PNG files.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

// rgb[height][width][3], rows top to bottom. The file is written atomically; sides up to 65535 pixels.
MUST_USE Status png_write_rgb(const char *path, size_t width, size_t height, const uint8_t *rgb);
