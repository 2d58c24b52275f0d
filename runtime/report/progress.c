// progress: see progress.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // fileno
#endif

#include "progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../core/clock.h"

enum { BAR = 24, LINE = 512 };

Progress progress_new(FILE *out, const char *unit) {
    bool terminal = isatty(fileno(out)) != 0;
    return (Progress){.out = out, .unit = unit, .terminal = terminal};
}

void progress_begin(Progress *p, const char *label, int64_t done, int64_t all) {
    snprintf(p->label, sizeof p->label, "%s", label);
    p->first = done;
    p->all = all;
    p->start = p->last = clock_seconds();
    if (p->terminal) p->last -= 1; // draw at once
}

const char *duration_text(double seconds, char text[DURATION_TEXT]) {
    if (!(seconds >= 0) || seconds > 1e8) snprintf(text, DURATION_TEXT, "?");
    else if (seconds < 59.95) snprintf(text, DURATION_TEXT, "%.1f s", seconds);
    else if (seconds < 3600) snprintf(text, DURATION_TEXT, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else snprintf(text, DURATION_TEXT, "%d h %02d min", (int)seconds / 3600, (int)seconds / 60 % 60);
    return text;
}

const char *bytes_text(double bytes, char text[BYTES_TEXT]) {
    if (bytes < 1e4) snprintf(text, BYTES_TEXT, "%.0f B", bytes);
    else if (bytes < 1e6) snprintf(text, BYTES_TEXT, "%.1f kB", bytes / 1e3);
    else if (bytes < 1e10) snprintf(text, BYTES_TEXT, "%.1f MB", bytes / 1e6);
    else snprintf(text, BYTES_TEXT, "%.1f GB", bytes / 1e9);
    return text;
}

static int terminal_width(FILE *out) {
    struct winsize size;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
    return size.ws_col < LINE ? size.ws_col : LINE - 1;
}

void progress_update(Progress *p, int64_t done, const char *note) {
    double now = clock_seconds();
    if (now - p->last < (p->terminal ? 0.1 : 30.0)) return;
    p->last = now;
    double rate = now > p->start ? (double)(done - p->first) / (now - p->start) : 0;
    char left[DURATION_TEXT] = "", line[LINE], bar[BAR + 1];
    if (rate > 0) duration_text((double)(p->all - done) / rate, left);
    if (!p->terminal) {
        fprintf(p->out, "%s  %3d%%  %.0f %ss/s  %s%s%s%s\n", p->label, p->all ? (int)(100 * done / p->all) : 100, rate,
                p->unit, left, *left ? " left" : "", *note ? "  " : "", note);
        fflush(p->out);
        return;
    }
    int filled = p->all > 0 ? (int)(BAR * done / p->all) : BAR;
    memset(bar, '-', BAR);
    memset(bar, '#', (size_t)(filled < 0 ? 0 : filled > BAR ? BAR : filled));
    bar[BAR] = '\0';
    snprintf(line, sizeof line, "%s [%s] %lld/%lld  %.0f %ss/s  %s%s%s%s", p->label, bar, (long long)done,
             (long long)p->all, rate, p->unit, left, *left ? " left" : "", *note ? "  " : "", note);
    line[terminal_width(p->out) - 1] = '\0'; // a wrapped line could not be redrawn
    fprintf(p->out, "\r\033[K%s", line);
    fflush(p->out);
    p->drawn = true;
}

void progress_end(Progress *p) {
    if (p->drawn) {
        fprintf(p->out, "\r\033[K");
        fflush(p->out);
    }
    p->drawn = false;
}
