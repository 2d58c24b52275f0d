// hvg_bench: 10x HDF5 to the 2,000 most variable genes, timed by parts (the peer: scanpy's read_10x_h5, filter_genes,
// normalize_total, log1p, highly_variable_genes in one process, after a first run).
//     hvg_bench FILE.h5 [THREADS]
#include <stdio.h>
#include <stdlib.h>

#include "../../../runtime/core/clock.h"
#include "../../../runtime/data/counts.h"
#include "../../../runtime/data/hvg.h"
#include "../../../runtime/data/normalise.h"

static double timed(double *last) {
    double now = (double)clock_ns() * 1e-6, passed = now - *last;
    *last = now;
    return passed;
}

static Status once(const char *path, int threads, HvgFlavour flavour) {
    Annotated read = {0};
    Matrix kept = {0};
    HvgResult chosen = {0};
    size_t *pick = NULL, genes = 0;
    double last = 0, start;
    timed(&last);
    start = last;
    TRY(counts_read(path, &(CountsOptions){.only_x = true, .threads = threads}, &read));
    printf("read %.1f", timed(&last));
    Status status = filter_genes(&read.x, &(GeneFilter){.min_spots = 10}, &pick, &genes);
    if (status == STATUS_OK) status = matrix_select(&read.x, NULL, 0, pick, genes, &kept);
    printf("  filter %.1f", timed(&last));
    if (flavour == HVG_SEURAT) {
        if (status == STATUS_OK) status = normalise_total(&kept, &(NormaliseOptions){.target_sum = 1e4}, NULL);
        if (status == STATUS_OK) status = matrix_log1p(&kept);
        printf("  normalise %.1f", timed(&last));
    }
    if (status == STATUS_OK) status = hvg_select(&kept, &(HvgOptions){.flavour = flavour, .genes = 2000}, &chosen);
    printf("  %s %.1f  all %.1f ms (%zu genes)\n", flavour == HVG_SEURAT ? "seurat" : "seurat_v3", timed(&last),
           last - start, chosen.count);
    hvg_free(&chosen);
    matrix_free(&kept);
    annotated_free(&read);
    free(pick);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 2) return printf("usage: %s FILE.h5 [THREADS]\n", argv[0]), 2;
    for (int i = 0; i < 6; i++) {
        Status status = once(argv[1], argc > 2 ? atoi(argv[2]) : 0, i % 2 ? HVG_SEURAT_V3 : HVG_SEURAT);
        if (status != STATUS_OK) return printf("%s\n", status_message(status)), 1;
    }
    return 0;
}
