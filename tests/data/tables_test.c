// Text lines, gzip damage, tables, and the reader of legacy Spatial Transcriptomics directories.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "../../runtime/data/legacy_st.h"
#include "../../runtime/data/lines.h"
#include "../../runtime/data/table.h"
#include "made.h"

// Reads to the end; the number of lines goes to *out_lines.
static Status read_all(const char *path, size_t *out_lines) {
    LineReader *reader = NULL;
    *out_lines = 0;
    TRY(lines_open(path, &reader));
    Status status = STATUS_OK;
    for (;;) {
        char *line = NULL;
        size_t length = 0;
        status = lines_next(reader, &line, &length);
        if (status != STATUS_OK || !line) break;
        if (strlen(line) != length) CHECK(!"length");
        ++*out_lines;
    }
    lines_close(reader);
    return status;
}

static void test_lines(void) {
    size_t n = 0;
    const char *path = made_path("lines.txt");
    made_text(path, "\xEF\xBB\xBFone\r\ntwo\n\nlast");
    LineReader *reader = NULL;
    CHECK_OK(lines_open(path, &reader));
    static const char *const expected[] = {"one", "two", "", "last"};
    for (int i = 0; i < 4; i++) {
        char *line = NULL;
        size_t length = 0;
        CHECK_OK(lines_next(reader, &line, &length));
        CHECK_TEXT(line, expected[i]);
        CHECK(lines_number(reader) == (size_t)i + 1);
    }
    lines_close(reader);
    made_text(path, "");
    CHECK_OK(read_all(path, &n));
    CHECK(n == 0);
    made_file(path, "a\0b\n", 4);
    CHECK_FAILS(read_all(path, &n), STATUS_MALFORMED, "lines.txt:1: a NUL byte");
    CHECK_FAILS(read_all(made_path("none"), &n), STATUS_NOT_FOUND, "none");
    CHECK_FAILS(read_all(made_root, &n), STATUS_INVALID, "is a directory");
    // Long lines across many refills, plain and gzip.
    size_t size = 900000;
    char *text = malloc(size + 1);
    for (size_t i = 0; i < size; i++) text[i] = i % 300000 == 299999 ? '\n' : (char)('a' + i * 7 % 26);
    text[size] = '\0';
    const char *zipped = made_path("long.gz");
    made_gzip(zipped, text);
    CHECK_OK(read_all(zipped, &n));
    CHECK(n == 3);
    made_text(path, text);
    CHECK_OK(read_all(path, &n));
    CHECK(n == 3);
    free(text);
    // Damage: every cut is an error, and so is any flipped byte of data or trailer.
    made_gzip(zipped, made_counts[0]);
    const char *broken = made_path("broken.gz");
    size_t whole = made_damaged(zipped, broken, (size_t)-1, -1, 0), found = 0;
    for (size_t keep = 2; keep < whole; keep++) {
        made_damaged(zipped, broken, keep, -1, 0);
        Status status = read_all(broken, &n);
        found += status_code(status) == STATUS_MALFORMED && strstr(status_message(status), "truncated") != NULL;
        status_drop(status);
    }
    CHECK(found == whole - 2);
    found = 0;
    for (size_t at = 10; at < whole; at++) {
        made_damaged(zipped, broken, (size_t)-1, (long)at, 0x10);
        Status status = read_all(broken, &n);
        found += status_code(status) == STATUS_MALFORMED;
        status_drop(status);
    }
    CHECK(found == whole - 10);
    // Two members are one text; other bytes behind are refused; zero padding is not.
    char *data = NULL, twice[4096];
    CHECK_OK(file_read(zipped, 2000, &data, &size));
    memcpy(twice, data, size);
    memcpy(twice + size, data, size);
    memset(twice + 2 * size, 0, 512);
    made_file(broken, twice, 2 * size + 512);
    CHECK_OK(read_all(broken, &n));
    CHECK(n == 14);
    memcpy(twice + 2 * size, "garbage", 7);
    made_file(broken, twice, 2 * size + 7);
    CHECK_FAILS(read_all(broken, &n), STATUS_MALFORMED, "other data follows");
    free(data);
}

static void test_table(void) {
    TableReader table;
    bool row = false;
    size_t column = 0;
    double value = 0;
    const char *path = made_path("table.csv");
    made_text(path, "id,\"a,b\",c\n1,\"x \"\"y\"\"\",2.5\n2,,nan\n\n");
    CHECK_OK(table_open(&table, path, ','));
    CHECK(table.n_columns == 3);
    CHECK_TEXT(table.columns[1], "a,b");
    CHECK_OK(table_next(&table, &row));
    CHECK(row);
    CHECK_TEXT(table.fields[1].text, "x \"y\"");
    CHECK_OK(table_column(&table, "c", &column));
    CHECK_OK(table_f64(&table, column, &value));
    CHECK(value == 2.5);
    CHECK_FAILS(table_column(&table, "d", &column), STATUS_MALFORMED,
                "no column named 'd'; the header has 'id', 'a,b', 'c'");
    CHECK_OK(table_next(&table, &row));
    CHECK_FAILS(table_f64(&table, 2, &value), STATUS_MALFORMED,
                "table.csv:3: column 'c': 'nan' is not a finite number");
    CHECK_FAILS(table_f64(&table, 1, &value), STATUS_MALFORMED, "'' is not a number");
    CHECK_OK(table_next(&table, &row));
    CHECK(!row);
    table_close(&table);
    made_text(path, "a,b\n1,2\n\n3,4\n");
    CHECK_OK(table_open(&table, path, ','));
    CHECK_OK(table_next(&table, &row));
    CHECK_FAILS(table_next(&table, &row), STATUS_MALFORMED, "table.csv:3: an empty line");
    table_close(&table);
    made_text(path, "a,b\n1,2,3\n");
    CHECK_OK(table_open(&table, path, ','));
    CHECK_FAILS(table_next(&table, &row), STATUS_MALFORMED, "table.csv:2: 3 fields where the header has 2");
    table_close(&table);
    made_text(path, "a,b\n\"1,2\n");
    CHECK_OK(table_open(&table, path, ','));
    CHECK_FAILS(table_next(&table, &row), STATUS_MALFORMED, "not closed on its line");
    table_close(&table);
    made_text(path, "");
    CHECK_FAILS(table_open(&table, path, ','), STATUS_MALFORMED, "the file is empty");
}

static Status read_b1(const char *directory) {
    char *depths[] = {"major"};
    Section section;
    Status status = legacy_st_read(directory, "B1", depths, 1, &section);
    section_free(&section);
    return status;
}

// Replaces one file of the directory by `text`, reads, puts the old text back.
static void check_broken(const char *directory, const char *file, const char *text, const char *good,
                         const char *message) {
    made_text(made_below(directory, file), text);
    CHECK_FAILS(read_b1(directory), STATUS_MALFORMED, message);
    made_text(made_below(directory, file), good);
}

static void test_legacy(void) {
    char directory[1024];
    snprintf(directory, sizeof directory, "%s", made_legacy("legacy"));
    Arena arena;
    arena_init(&arena);
    char **names = NULL, **depths = NULL;
    size_t n = 0;
    CHECK_OK(legacy_st_sections(directory, &arena, &names, &n));
    CHECK(n == 2 && strcmp(names[0], "B1") == 0 && strcmp(names[1], "B2") == 0);
    CHECK_OK(legacy_st_depths(directory, names, n, &arena, &depths, &n));
    CHECK(n == 1 && strcmp(depths[0], "major") == 0);
    Section s;
    CHECK_OK(legacy_st_read(directory, "B2", depths, 1, &s));
    CHECK(s.n_spots == 6 && s.n_genes == 3 && s.indptr[6] == 10);
    CHECK_TEXT(s.ids[0], "4x3");
    CHECK_TEXT(s.genes[1], "MS4A1");
    CHECK(s.array[0] == 4 && s.array[1] == 3 && s.pixel[0] == 150 && s.pixel[1] == 100);
    CHECK(s.indptr[1] == 2 && s.indices[0] == 1 && s.counts[0] == 4 && s.indices[1] == 2 && s.counts[1] == 1);
    CHECK(s.n_without_counts == 1 && strcmp(s.without_counts[0], "6x3") == 0);
    CHECK(s.n_not_selected == 1 && s.n_extra_rows == 1 && s.n_inputs == 4);
    CHECK_TEXT(s.tables[0].columns[0], "NK cells ");
    CHECK(s.tables[0].values[0] == 0.1f && s.tables[0].values[2] == 0.7f);
    section_free(&s);

    const char *counts = "counts/B1.tsv.gz", *spots = "spots/B1_selection.tsv", *major = "proportions/B1_major.tsv";
    const char *c = made_counts[0], *p = made_spots, *m = made_major[0]; // a .gz name may hold plain text
    check_broken(directory, counts, "\tA\tB\n2x2\t1\t2\n2x2\t1\t2\n", c, "B1.tsv.gz:3: spot '2x2' occurs twice");
    check_broken(directory, counts, "\tA\tB\n2x2\t1\t2\n7x7\t1\t2\n", c,
                 "B1.tsv.gz:3: spot '7x7' has counts but no line in");
    check_broken(directory, counts, "\tA\tB\n2x2\t1\t-2\n", c, "B1.tsv.gz:2: gene 'B': '-2' is negative");
    check_broken(directory, counts, "\tA\tB\n2x2\tNaN\t2\n", c, "gene 'A': 'NaN' is not a count");
    check_broken(directory, counts, "\tA\tB\n2x2\t1.5\t2\n", c, "'1.5' is not a whole number");
    check_broken(directory, counts, "\tA\tB\n2x2\t99999999999\t2\n", c, "too large for a count");
    check_broken(directory, counts, "\tA\tB\n2x2\tone\t2\n", c, "'one' is not a number");
    check_broken(directory, counts, "\tA\tB\n2x2\t1\n", c, "2 fields where the header has 3");
    check_broken(directory, counts, "\tA\tA\n2x2\t1\t2\n", c, "gene 'A' occurs twice (columns 2 and 3)");
    check_broken(directory, counts, "\tA\t\n2x2\t1\t2\n", c, "gene column 3 has no name");
    check_broken(directory, counts, "\tA\xff\n2x2\t1\n", c, "not UTF-8");
    check_broken(directory, counts, "nothing\n2x2\n", c, "no genes in the header");
    check_broken(directory, counts, "\tA\tB\n", c, "no spot under tissue has counts");
    check_broken(directory, counts, "", c, "the file is empty");
    check_broken(directory, spots, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\n2\t2\t2\t2\t5\t5\n", p,
                 "no column named 'selected'");
    check_broken(directory, spots, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n2\t2\t2\t2\tnan\t5\t1\n", p,
                 "_selection.tsv:2: column 'pixel_x': 'nan' is not a finite number");
    check_broken(directory, spots, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n2.5\t2\t2\t2\t5\t5\t1\n", p,
                 "'2.5' is not a whole number");
    check_broken(directory, spots, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n2\t2\t2\t2\t5\t5\t7\n", p,
                 "neither 0 nor 1");
    check_broken(directory, spots,
                 "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_"
                 "y\tselected\n2\t2\t2\t2\t5\t5\t1\n3\t2\t2\t2\t5\t5\t1\n2\t2\t2\t2\t5\t5\t1\n",
                 p, "_selection.tsv:4: spot 2x2 occurs twice (first on line 2)");
    check_broken(directory, major, "\tT\tS\n2x2\t0.5\t0.5\n", m, "no line for spot 3x2");
    check_broken(directory, major, "\tT\tS\n2x2\t-0.5\t0.5\n", m,
                 "_major.tsv:2: column 'T': the proportion -0.5 is negative");
    check_broken(directory, major, "\tT\tS\n2x2\tnan\t0.5\n", m, "not a finite number");
    check_broken(directory, major, "\tT\tT\n2x2\t1\t0.5\n", m, "column 'T' occurs twice");
    check_broken(directory, major, "\tT\n2x2\t1\n2x2\t1\n", m, "spot '2x2' occurs twice");
    CHECK_OK(read_b1(directory));
    made_text(made_below(directory, counts),
              "\tA\tB\n2x2\t1.0\t2e1\n"); // whole numbers in another spelling are counts
    CHECK_OK(legacy_st_read(directory, "B1", NULL, 0, &s));
    CHECK(s.n_spots == 1 && s.counts[1] == 20 && s.n_without_counts == 6);
    section_free(&s);
    unlink(made_below(directory, "images/B1.jpg"));
    CHECK_FAILS(read_b1(directory), STATUS_NOT_FOUND, "no picture");
    CHECK_FAILS(legacy_st_sections(made_path("nowhere"), &arena, &names, &n), STATUS_NOT_FOUND, "is not a directory");
    CHECK_FAILS(legacy_st_sections(made_root, &arena, &names, &n), STATUS_NOT_FOUND, "no directory 'counts'");
    char *unknown[] = {"subset"};
    CHECK_FAILS(legacy_st_read(directory, "B2", unknown, 1, &s), STATUS_NOT_FOUND, "no proportions of depth 'subset'");
    arena_free(&arena);
}

int main(void) {
    made_begin();
    test_lines();
    test_table();
    test_legacy();
    made_end();
    return check_report("tables");
}
