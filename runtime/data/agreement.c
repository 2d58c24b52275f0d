// agreement: see agreement.h. The pairs of labels are sorted, so that the contingency table is never made dense.
#include "agreement.h"

#include <math.h>
#include <stdlib.h>

typedef struct Labels {
    int64_t a, b;
} Labels;

static int by_a(const void *x, const void *y) {
    const Labels *p = x, *q = y;
    if (p->a != q->a) return p->a < q->a ? -1 : 1;
    return (p->b > q->b) - (p->b < q->b);
}

static int by_b(const void *x, const void *y) {
    const Labels *p = x, *q = y;
    return (p->b > q->b) - (p->b < q->b);
}

static double pairs(double n) {
    return n * (n - 1) / 2;
}

typedef struct Side {
    size_t clusters;
    double pairs, entropy;
} Side;

static void close_cluster(Side *side, size_t size, double n) {
    double p = (double)size / n;
    side->clusters++;
    side->pairs += pairs((double)size);
    side->entropy -= p * log(p);
}

Status agreement_of(const int64_t *a, const int64_t *b, size_t count, Agreement *out) {
    *out = (Agreement){.adjusted_rand = 1, .normalised_mutual_information = 1};
    if (count == 0) return STATUS_OK;
    Labels *label = malloc(count * sizeof *label);
    if (!label) return status_make(STATUS_NO_MEMORY, "no memory to compare %zu labels", count);
    for (size_t i = 0; i < count; i++) label[i] = (Labels){a[i], b[i]};
    Side side_a = {0}, side_b = {0}, both = {0};
    double n = (double)count;
    qsort(label, count, sizeof *label, by_a);
    for (size_t i = 0, start_a = 0, start = 0; i < count; i++) {
        bool last_a = i + 1 == count || label[i + 1].a != label[i].a;
        if (last_a || label[i + 1].b != label[i].b) {
            close_cluster(&both, i + 1 - start, n);
            start = i + 1;
        }
        if (last_a) {
            close_cluster(&side_a, i + 1 - start_a, n);
            start_a = i + 1;
        }
    }
    qsort(label, count, sizeof *label, by_b);
    for (size_t i = 0, start = 0; i < count; i++)
        if (i + 1 == count || label[i + 1].b != label[i].b) {
            close_cluster(&side_b, i + 1 - start, n);
            start = i + 1;
        }
    free(label);
    out->clusters_a = side_a.clusters;
    out->clusters_b = side_b.clusters;
    if (side_a.clusters == 1 && side_b.clusters == 1) return STATUS_OK;
    double expected = count > 1 ? side_a.pairs * side_b.pairs / pairs(n) : 0, most = (side_a.pairs + side_b.pairs) / 2;
    out->adjusted_rand = most == expected ? 1 : (both.pairs - expected) / (most - expected);
    out->mutual_information = fmax(0, side_a.entropy + side_b.entropy - both.entropy);
    // exact zero when nothing is shared: the entropies differ from 0 by rounding only
    if (side_a.clusters == 1 || side_b.clusters == 1) out->mutual_information = 0;
    double mean = (side_a.entropy + side_b.entropy) / 2;
    out->normalised_mutual_information = out->mutual_information / mean;
    return STATUS_OK;
}
