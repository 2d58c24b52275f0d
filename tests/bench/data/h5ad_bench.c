// h5ad_bench: reads a file of counts, all of it or the genes listed in a text file, and prints one line:
//     SECONDS ROWS COLUMNS NNZ SUM PEAK_MB_OF_CHILD PEAK_MB_OF_PARENT CPU_SECONDS
// Usage: h5ad_bench FILE [GENES.txt]. tests/bench/data/h5ad_bench.py runs it against anndata.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "../../../runtime/core/files.h"
#include "../../../runtime/data/counts.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_seconds(const struct rusage *u) {
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) * 1e-6;
}

int main(int count, char **arguments) {
    if (count < 2) return fprintf(stderr, "usage: h5ad_bench FILE [GENES.txt]\n"), 2;
    CountsOptions options = {.only_x = true};
    char *text = NULL, **genes = NULL;
    size_t size = 0, n = 0;
    if (count > 2) {
        Status status = file_read(arguments[2], 1 << 26, &text, &size);
        genes = status ? NULL : malloc((size + 1) * sizeof *genes);
        if (!genes) return fprintf(stderr, "%s\n", status_message(status)), 1;
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) genes[n++] = line;
        options.genes = genes;
        options.n_genes = n;
    }
    Annotated a;
    double begin = now();
    Status status = counts_read(arguments[1], &options, &a);
    double seconds = now() - begin, sum = 0;
    if (status) {
        fprintf(stderr, "%s\n", status_message(status));
        return 1;
    }
    for (int64_t e = 0; e < matrix_nnz(&a.x); e++) sum += (double)a.x.value[e];
    struct rusage self, child;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &child);
    printf("%.6f %zu %zu %lld %.9g %.1f %.1f %.3f\n", seconds, a.x.rows, a.x.columns, (long long)matrix_nnz(&a.x), sum,
           (double)child.ru_maxrss / 1024, (double)self.ru_maxrss / 1024, cpu_seconds(&self) + cpu_seconds(&child));
    annotated_free(&a);
    free(genes);
    free(text);
    return 0;
}
