// hvg_bench: 10x HDF5 to the 2,000 most variable genes, timed by parts.
//     hvg_bench FILE.h5 FLAVOUR [turns]
// FLAVOUR: seurat (normalised to the median and logarithms taken first) or seurat_v3 (counts). Once, or, with `turns`,
// for every line on standard input. Prints one line a turn: milliseconds of reading, normalising, choosing, all of it,
// then the genes chosen, in order. tests/bench/data/hvg_bench.py alternates it with scanpy.
#include <stdio.h>
#include <string.h>

#include "../../../runtime/core/clock.h"
#include "../../../runtime/data/counts.h"
#include "../../../runtime/data/hvg.h"
#include "../../../runtime/data/normalise.h"

static double lap(double *last) {
    double now = (double)clock_ns() * 1e-6, passed = now - *last;
    *last = now;
    return passed;
}

static Status once(const char *path, HvgFlavour flavour) {
    Annotated read = {0};
    HvgResult chosen = {0};
    double last = 0, normalising = 0;
    lap(&last);
    TRY(counts_read(path, NULL, &read));
    double reading = lap(&last);
    Status status = STATUS_OK;
    if (flavour == HVG_SEURAT) {
        status = normalise_total(&read.x, &(NormaliseOptions){0}, NULL);
        if (status == STATUS_OK) status = matrix_log1p(&read.x);
        normalising = lap(&last);
    }
    if (status == STATUS_OK) status = hvg_select(&read.x, &(HvgOptions){.flavour = flavour, .genes = 2000}, &chosen);
    double choosing = lap(&last);
    printf("%.2f %.2f %.2f %.2f", reading, normalising, choosing, reading + normalising + choosing);
    for (size_t i = 0; i < chosen.count; i++) printf(" %s", read.x.column_name[chosen.gene[i]]);
    printf("\n");
    fflush(stdout);
    hvg_free(&chosen);
    annotated_free(&read);
    return status;
}

int main(int argc, char **argv) {
    char line[16];
    bool v3 = argc > 2 && strcmp(argv[2], "seurat_v3") == 0;
    if (argc < 3 || (!v3 && strcmp(argv[2], "seurat") != 0))
        return fprintf(stderr, "usage: %s FILE.h5 seurat|seurat_v3 [turns]\n", argv[0]), 2;
    HvgFlavour flavour = v3 ? HVG_SEURAT_V3 : HVG_SEURAT;
    Status status = argc < 4 ? once(argv[1], flavour) : STATUS_OK;
    while (argc > 3 && !status && fgets(line, sizeof line, stdin)) status = once(argv[1], flavour);
    if (status) fprintf(stderr, "%s\n", status_message(status));
    int code = status ? 1 : 0;
    status_drop(status);
    return code;
}
