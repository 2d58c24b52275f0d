// curves: a run's numbers over its steps, as one picture: a panel per number, a line per split.
#pragma once

#include "../core/status.h"

// Reads metrics.jsonl at `metrics_path` and writes the picture `png_path` (atomically). Fewer than one number
// to draw: no picture is written. Lists (metrics per column) are drawn by the mean of their finite values.
MUST_USE Status curves_draw(const char *metrics_path, const char *png_path);
