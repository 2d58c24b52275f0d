// Any bytes as a directory of text files that belong together: a 10x matrix directory, a Space Ranger directory, a
// directory of legacy ST. The first byte says which (M, O, L), the second which of its files are packed with gzip; the
// files' contents follow, separated by the byte 0x1E. Reading ends with a matrix or with an error that names a file.
// The kept corpus lies in tests/fuzz/corpus/trees.
#define FUZZ_NAME "fuzz_trees"
#include "fuzz.h"
#include <zlib.h>

#include "../../runtime/data/counts.h"
#include "../../runtime/data/legacy_st.h"

enum { MOST_PARTS = 5, SEPARATOR = 0x1E };

static const struct {
    char letter;
    const char *directory[3];
    const char *file[MOST_PARTS];
} trees[] = {
    {'M', {NULL}, {"matrix.mtx", "barcodes.tsv", "features.tsv", NULL}},
    {'G', {NULL}, {"matrix.mtx", "barcodes.tsv", "genes.tsv", NULL}},
    {'O',
     {"filtered_feature_bc_matrix", "spatial", NULL},
     {"filtered_feature_bc_matrix/matrix.mtx", "filtered_feature_bc_matrix/barcodes.tsv",
      "filtered_feature_bc_matrix/features.tsv", "spatial/tissue_positions.csv", "spatial/scalefactors_json.json"}},
    {'L',
     {"counts", "spots", "proportions"},
     {"counts/A.tsv", "spots/A_selection.tsv", "proportions/A_major.tsv", "images/A.jpg", NULL}},
};
enum { TREES = sizeof trees / sizeof *trees };

static void put(const char *path, const uint8_t *data, size_t size, bool packed) {
    if (packed) {
        char gz[600];
        snprintf(gz, sizeof gz, "%s.gz", path);
        gzFile file = gzopen(gz, "wb1");
        if (!file || (size && gzwrite(file, data, (unsigned)size) != (int)size) || gzclose(file) != Z_OK)
            fuzz_broken("cannot pack");
        return;
    }
    int descriptor = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
    if (descriptor < 0 || write(descriptor, data, size) != (ssize_t)size) fuzz_broken("cannot write");
    close(descriptor);
}

static void read_legacy(const char *root) {
    static char *depth[] = {"major"};
    Section section;
    Status status = legacy_st_read(root, "A", depth, 1, &section);
    if (status == STATUS_OK) {
        fuzz_touch_texts(section.ids, section.n_spots);
        fuzz_touch_texts(section.genes, section.n_genes);
        fuzz_touch(section.counts, (size_t)section.indptr[section.n_spots] * sizeof *section.counts);
        fuzz_touch(section.tables[0].values, section.n_spots * section.tables[0].n_columns * sizeof(float));
        section_free(&section);
    }
    fuzz_judge(status, "/stmc-fuzz-");
}

static void read_tree(const char *root) {
    CountsOptions options = {.threads = 1, .pictures = true, .limits.in_process = true};
    Annotated a;
    if (!fuzz_judge(counts_read(root, &options, &a), "/stmc-fuzz-")) return;
    if (a.obs.rows != a.x.rows || a.var.rows != a.x.columns) fuzz_broken("frames and matrix differ in size");
    for (size_t r = 0; r < a.x.rows; r++)
        for (int64_t e = a.x.start[r]; e < a.x.start[r + 1]; e++)
            if (a.x.column[e] < 0 || (size_t)a.x.column[e] >= a.x.columns || a.x.value[e] == 0)
                fuzz_broken("an entry that must not be");
    fuzz_touch_texts(a.x.row_name, a.x.rows);
    fuzz_touch_texts(a.x.column_name, a.x.columns);
    fuzz_touch_texts(a.note, a.n_notes);
    annotated_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[512], packed_path[520];
    if (size < 2) return 0;
    size_t which = 0;
    while (which < TREES && trees[which].letter != (char)data[0]) which++;
    if (which == TREES) which = data[0] % TREES;
    snprintf(path, sizeof path, "%s/%c", fuzz_directory(), trees[which].letter);
    mkdir(path, 0777);
    for (int i = 0; i < 3 && trees[which].directory[i]; i++) {
        snprintf(path, sizeof path, "%s/%c/%s", fuzz_directory(), trees[which].letter, trees[which].directory[i]);
        mkdir(path, 0777);
    }
    if (trees[which].letter == 'L') {
        snprintf(path, sizeof path, "%s/L/images", fuzz_directory());
        mkdir(path, 0777);
    }
    const uint8_t *at = data + 2, *end = data + size;
    for (int i = 0; i < MOST_PARTS && trees[which].file[i]; i++) {
        const uint8_t *stop = at ? memchr(at, SEPARATOR, (size_t)(end - at)) : NULL;
        snprintf(path, sizeof path, "%s/%c/%s", fuzz_directory(), trees[which].letter, trees[which].file[i]);
        snprintf(packed_path, sizeof packed_path, "%s.gz", path);
        unlink(path);
        unlink(packed_path);
        bool last = i + 1 == MOST_PARTS || !trees[which].file[i + 1];
        if (last || !stop) stop = end;
        if (at && !(data[1] & 0x40 && i == 2)) // bit 6: the third file is missing
            put(path, at, (size_t)(stop - at), data[1] >> i & 1);
        at = stop < end ? stop + 1 : NULL;
    }
    snprintf(path, sizeof path, "%s/%c", fuzz_directory(), trees[which].letter);
    if (trees[which].letter == 'L') read_legacy(path);
    read_tree(path);
    return 0;
}
