// h5ad_bench: reads a file of counts, all of it or the genes listed in a text file, and prints one line:
//     SECONDS ROWS COLUMNS NNZ SUM PEAK_MB_OF_CHILD PEAK_MB_OF_PARENT CPU_SECONDS
// Usage: h5ad_bench FILE [GENES.txt [turns]]. With `turns` it reads once for every line that comes on standard input,
// so that a driver can alternate it with another process: tests/bench/data/h5ad_bench.py does so with anndata.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../../../runtime/core/clock.h"
#include "../../../runtime/core/files.h"
#include "../../../runtime/data/counts.h"

static double cpu_seconds(void) {
    double seconds = 0;
    for (int i = 0; i < 2; i++) {
        struct rusage u;
        getrusage(i ? RUSAGE_CHILDREN : RUSAGE_SELF, &u);
        seconds +=
            (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
    }
    return seconds;
}

static Status once(const char *path, const CountsOptions *options) {
    Annotated a;
    double cpu = cpu_seconds(), begin = (double)clock_ns() * 1e-9;
    TRY(counts_read(path, options, &a));
    double seconds = (double)clock_ns() * 1e-9 - begin, sum = 0;
    cpu = cpu_seconds() - cpu;
    for (int64_t e = 0; e < matrix_nnz(&a.x); e++) sum += (double)a.x.value[e];
    struct rusage self, child;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &child);
    printf("%.6f %zu %zu %lld %.9g %.1f %.1f %.3f\n", seconds, a.x.rows, a.x.columns, (long long)matrix_nnz(&a.x), sum,
           (double)child.ru_maxrss / 1024, (double)self.ru_maxrss / 1024, cpu);
    fflush(stdout);
    annotated_free(&a);
    return STATUS_OK;
}

int main(int count, char **arguments) {
    if (count < 2) return fprintf(stderr, "usage: h5ad_bench FILE [GENES.txt [turns]]\n"), 2;
    CountsOptions options = {.only_x = true};
    char *text = NULL, **genes = NULL, line[16];
    size_t size = 0, n = 0;
    Status status = STATUS_OK;
    if (count > 2) {
        status = file_read(arguments[2], 1 << 26, &text, &size);
        genes = status ? NULL : malloc((size + 1) * sizeof *genes);
        if (!genes) return fprintf(stderr, "%s\n", status_message(status)), 1;
        for (char *gene = strtok(text, "\n"); gene; gene = strtok(NULL, "\n")) genes[n++] = gene;
        options.genes = genes;
        options.n_genes = n;
    }
    if (count < 4) status = once(arguments[1], &options);
    while (count > 3 && !status && fgets(line, sizeof line, stdin)) status = once(arguments[1], &options);
    if (status) fprintf(stderr, "%s\n", status_message(status));
    int code = status ? 1 : 0;
    status_drop(status);
    free(genes);
    free(text);
    return code;
}
