// Positions and scale: both layouts of Space Ranger and the legacy selection file against the recorded references,
// joins that miss, geometry against the pictures, messages.
#include "../../runtime/data/positions.h"
#include "counts_reference.h"

static void test_recorded(const char *data, const JsonValue *group) {
    for (size_t i = 0; i < group->length; i++) {
        SpotPositions p;
        const JsonValue *r = &group->items[i];
        const char *name = group->keys[i];
        if (!CHECK_OK(positions_read(made_below(data, name), &p))) continue;
        double array = 0, x = 0, y = 0;
        for (size_t s = 0; s < p.count; s++) {
            array += 3 * p.array[2 * s] + p.array[2 * s + 1];
            x += p.pixel[2 * s];
            y += p.pixel[2 * s + 1];
        }
        CHECK((double)p.count == reference_number(r, "count") &&
              (double)p.n_in_tissue == reference_number(r, "in_tissue"));
        CHECK(array == reference_number(r, "array"));
        reference_near(name, "x", x, reference_number(r, "x"), x);
        reference_near(name, "y", y, reference_number(r, "y"), y);
        reference_text(name, "ids", reference_hash(p.id, p.count), json_get(r, "ids"));
        positions_free(&p);
    }
}

static Status check_set(const char *data, const char *set, const char *picture, bool hires, PositionsCheck *check) {
    SpotPositions p = {0};
    ScaleFactors f;
    ImageFile *image = NULL;
    char *path = NULL, directory[1024], file[2048];
    snprintf(directory, sizeof directory, "%s/visium/%s", data, set);
    TRY(positions_find(directory, &reference_arena, &path));
    TRY(positions_read(path, &p));
    snprintf(file, sizeof file, "%s/spatial/scalefactors_json.json", directory);
    Status status = scale_factors_read(file, &f);
    snprintf(file, sizeof file, "%s/spatial/%s", directory, picture);
    if (status == STATUS_OK) status = image_open(file, &image);
    if (status == STATUS_OK)
        status = positions_check(&p, &f, image_info(image).width, image_info(image).height,
                                 hires ? f.tissue_hires_scalef : f.tissue_lowres_scalef, &reference_arena, check);
    image_close(image);
    positions_free(&p);
    return status;
}

static void test_geometry(const char *data) {
    PositionsCheck c;
    if (CHECK_OK(check_set(data, "brain_sr2", "tissue_lowres_image.png", false, &c))) {
        CHECK(c.spots == 2702 && c.outside == 0 && c.n_warnings == 0);
        CHECK_NEAR(c.spacing, 138, 2);
        CHECK_NEAR(c.expected_spacing, 137.6, 0.1);
        CHECK_NEAR(c.array_spacing_x, c.spacing / 2, 1);            // half-steps along a row
        CHECK_NEAR(c.array_spacing_y, c.spacing * sqrt(0.75), 1.5); // rows of a hexagonal array
        CHECK(c.worst_residual < 0.1);
    }
    if (CHECK_OK(check_set(data, "crc16", "tissue_lowres_image.png", false, &c)))
        CHECK(c.outside == 0 && c.n_warnings == 0);
    if (CHECK_OK(check_set(data, "heart_100x100", "tissue_lowres_image.png", false, &c)))
        CHECK(c.spots == 4235 && c.n_warnings == 0);
    if (CHECK_OK(check_set(data, "colon_hd_16um", "tissue_hires_image.png", true, &c))) {
        CHECK(c.spots == 675 && c.n_warnings == 0);
        CHECK_NEAR(c.spacing, 58.43, 0.05); // bins touch
        CHECK_NEAR(c.expected_spacing, 58.43, 0.01);
    }
    if (CHECK_OK(check_set(data, "prostate_tiny", "tissue_hires_image.png", true, &c))) { // cropped upstream
        CHECK(c.spots == 12 && c.outside == 12 && c.n_warnings == 1);
        CHECK(c.n_warnings && strstr(c.warning[0], "12 of 12 spots in tissue lie outside the picture of 45 x 77 px"));
    }
}

static void test_legacy(const char *data) {
    SpotPositions p;
    PositionsCheck c;
    if (!CHECK_OK(positions_read(made_below(data, "her2st/spots/C2_selection.tsv"), &p))) return;
    CHECK(p.count == 187 && p.n_in_tissue == 187);
    if (CHECK_OK(positions_check(&p, NULL, 9274, 9911, 1, &reference_arena, &c))) {
        CHECK(c.outside == 0 && c.n_warnings == 0);
        CHECK_NEAR(c.array_spacing_x, 289.81, 4); // spots were printed up to a third of a step off
        CHECK_NEAR(c.array_spacing_y, 291.50, 4);
        CHECK(c.spacing > 210 && c.spacing < 312);
    }
    positions_free(&p);
}

// ---- Made ---------------------------------------------------------------------------------------

static const char *const header = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n";

static void made_positions(const char *path, bool with_header, const char *lines) {
    char text[4096];
    snprintf(text, sizeof text, "%s%s", with_header ? header : "", lines);
    made_text(path, text);
}

static void test_layouts(void) {
    SpotPositions p;
    const char *path = made_path("positions.csv");
    made_positions(path, true, "AAA-1,1,0,0,10.25,20.5\r\n\"BBB-1\",0,1,1,30,40\r\nCCC-1,1,2,0,1e2,-3\r\n\r\n");
    if (CHECK_OK(positions_read(path, &p))) {
        CHECK(p.count == 3 && p.n_in_tissue == 2 && p.pixel[0] == 20.5 && p.pixel[1] == 10.25 && p.pixel[4] == -3);
        CHECK_TEXT(p.id[1], "BBB-1");
        positions_free(&p);
    }
    made_positions(path, false, "AAA-1,1.0,0,0,10,20");
    if (CHECK_OK(positions_read(path, &p))) {
        CHECK(p.count == 1 && p.in_tissue[0] == 1);
        CHECK_TEXT(p.source, "tissue_positions_list without a header");
        positions_free(&p);
    }
    made_text(path, "x\ty\tpixel_x\tpixel_y\n3\t2\t1.5\t2.5\n");
    if (CHECK_OK(positions_read(path, &p))) {
        CHECK(p.array[0] == 2 && p.array[1] == 3 && p.pixel[0] == 1.5 && p.in_tissue[0] == 1);
        CHECK_TEXT(p.id[0], "3x2");
        positions_free(&p);
    }
    static const struct {
        const char *lines, *message;
    } broken[] = {{"AAA-1,1,0,0,10\n", ":2: 5 fields where barcode"},
                  {"AAA-1,2,0,0,10,20\n", ":2: in_tissue: 2 is neither 0 nor 1"},
                  {"AAA-1,1,0.5,0,10,20\n", "array_row: 0.5 is not a position"},
                  {"AAA-1,1,0,0,nan,20\n", "pxl_row_in_fullres: 'nan' is not a finite number"},
                  {"AAA-1,1,0,0,1,2\nAAA-1,1,0,1,1,2\n", "spot AAA-1 occurs twice"},
                  {"AAA-1,1,0,0,1,2\n\nBBB-1,1,0,1,1,2\n", ":3: an empty line between spots"},
                  {",1,0,0,1,2\n", "the barcode is empty"},
                  {"", "no spots in it"}};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        made_positions(path, true, broken[i].lines);
        CHECK_FAILS(positions_read(path, &p), STATUS_MALFORMED, broken[i].message);
    }
    made_text(path, "barcode,in_tissue,array_col,array_row,a,b\n");
    CHECK_FAILS(positions_read(path, &p), STATUS_MALFORMED, "column 3 of the header is 'array_col'");
    made_text(made_path("p.parquet"), "PAR1 and so on");
    CHECK_FAILS(positions_read(made_path("p.parquet"), &p), STATUS_UNSUPPORTED, "read_parquet('");
    char *found = NULL;
    const char *directory = made_path("hd");
    mkdir(directory, 0777);
    CHECK_OK(positions_find(directory, &reference_arena, &found));
    CHECK(found == NULL);
    made_text(made_below(directory, "tissue_positions.parquet"), "PAR1");
    CHECK_FAILS(positions_find(directory, &reference_arena, &found), STATUS_UNSUPPORTED, "to_csv('");
}

static void test_scales(void) {
    ScaleFactors f;
    const char *path = made_path("scales.json");
    made_text(path, "{\"tissue_hires_scalef\": 0.1, \"spot_diameter_fullres\": 89.5, \"other\": [1]}");
    if (CHECK_OK(scale_factors_read(path, &f)))
        CHECK(f.tissue_hires_scalef == 0.1 && f.spot_diameter_fullres == 89.5 && isnan(f.bin_size_um));
    made_text(path, "{\"tissue_hires_scalef\": 0}");
    CHECK_FAILS(scale_factors_read(path, &f), STATUS_MALFORMED, "'tissue_hires_scalef' must be a positive number");
    made_text(path, "{}");
    CHECK_FAILS(scale_factors_read(path, &f), STATUS_MALFORMED, "none of the scale factors");
    made_text(path, "[1]");
    CHECK_FAILS(scale_factors_read(path, &f), STATUS_MALFORMED, "an object of scale factors is expected");
    made_text(path, "{\"tissue_hires_scalef\": 0.1");
    Status status = scale_factors_read(path, &f);
    CHECK(status_code(status) == STATUS_MALFORMED);
    status_drop(status);
}

// A Space Ranger directory whose counts and positions do not quite join.
static void test_joins(void) {
    Annotated a;
    const char *outs = made_path("outs");
    static const char *const folders[] = {"", "spatial", "filtered_feature_bc_matrix"};
    for (int i = 0; i < 3; i++) mkdir(made_below(outs, folders[i]), 0777);
    made_text(made_below(outs, "filtered_feature_bc_matrix/barcodes.tsv"), "AAA-1\nXXX-1\nCCC-1\nDDD-1\n");
    made_text(made_below(outs, "filtered_feature_bc_matrix/features.tsv"),
              "E1\tG\tGene Expression\nE2\tH\tGene Expression\nE3\tab\tAntibody Capture\n");
    made_text(made_below(outs, "filtered_feature_bc_matrix/matrix.mtx"),
              "%%MatrixMarket matrix coordinate integer general\n3 4 5\n1 1 1\n2 2 2\n2 3 3\n3 3 9\n1 4 4\n");
    const char *positions = made_below(outs, "spatial/tissue_positions.csv");
    made_positions(positions, true, "DDD-1,0,5,5,55,50\nBBB-1,1,1,1,11,10\nCCC-1,1,3,3,33,30\nAAA-1,1,0,0,1,0\n");
    if (CHECK_OK(counts_read(outs, NULL, &a))) {
        CHECK(a.x.rows == 3 && a.x.columns == 2 && a.joined == 3 && a.not_joined == 1 && a.obs.rows == 3);
        CHECK_TEXT(a.x.row_name[1], "CCC-1");
        CHECK(a.embedding[0].value[2] == 30 && a.embedding[0].value[3] == 33);
        CHECK(frame_column(&a.obs, "in_tissue")->integer[2] == 0 && frame_column(&a.obs, "array_row")->integer[1] == 3);
        CHECK(matrix_nnz(&a.x) == 3 && a.x.value[1] == 3);
        CHECK(a.n_notes == 4); // another feature type, a spot without position, a position without counts, off tissue
        annotated_free(&a);
    }
    made_positions(positions, true, "ZZZ-1,1,5,5,55,50\n");
    CHECK_FAILS(counts_read(outs, NULL, &a), STATUS_MISMATCH, "none of the 4 spots with counts has a position");
    unlink(positions);
    if (CHECK_OK(counts_read(outs, NULL, &a))) {
        CHECK(a.x.rows == 4 && a.n_embeddings == 0 && strstr(a.note[1], "no positions"));
        annotated_free(&a);
    }
    made_text(made_below(outs, "spatial/tissue_positions.parquet"), "PAR1");
    CHECK_FAILS(counts_read(outs, NULL, &a), STATUS_UNSUPPORTED, "Parquet is not read; convert it with: python3 -c");
}

static void test_mixed_up(void) {
    SpotPositions p;
    PositionsCheck c;
    ScaleFactors f = {.spot_diameter_fullres = 65, .bin_size_um = NAN, .microns_per_pixel = NAN};
    char text[4096] = "";
    for (int r = 0; r < 5; r++)
        for (int k = 0; k < 5; k++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "S%d%d,1,%d,%d,%d,%d\n", r, k, r, k,
                     r == 2 && k == 2 ? 900 : 100 * r, 100 * k);
    made_positions(made_path("m.csv"), false, text);
    if (!CHECK_OK(positions_read(made_path("m.csv"), &p))) return;
    CHECK_OK(positions_check(&p, &f, 400, 500, 1, &reference_arena, &c));
    CHECK(c.outside == 6 && c.n_warnings == 2 && strstr(c.warning[0], "spacings from its place in the array"));
    f.spot_diameter_fullres = 200;
    CHECK_OK(positions_check(&p, &f, 0, 0, 1, &reference_arena, &c));
    CHECK(c.outside == 0 && c.n_warnings == 2 && strstr(c.warning[0], "spots are 100.00 px apart"));
    positions_free(&p);
}

int main(int count, char **arguments) {
    const char *data = count > 1 ? arguments[1] : "../shared/data";
    made_begin();
    arena_init(&reference_arena);
    if (is_directory(data)) {
        test_recorded(data, reference_load("positions.json"));
        test_geometry(data);
        test_legacy(data);
    } else CHECK_SKIP("%s is not there: only made files were read", data);
    test_layouts();
    test_scales();
    test_joins();
    test_mixed_up();
    arena_free(&reference_arena);
    made_end();
    return check_report("visium");
}
