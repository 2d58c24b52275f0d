// JPEG tiles: streams of every sampling, quality, table and damage against libjpeg alone, whole and in part.
#include <string.h>

#include "../../runtime/data/image_jpeg_trap.h"
#include "../../runtime/data/slide_jpeg.h"
#include "made.h"

typedef struct Kind {
    const char *name;
    int components, across, down; // of the first component; the others are 1 x 1
    int quality;
    bool optimised, progressive, arithmetic;
    unsigned restart;
} Kind;

static const Kind kinds[] = {
    {"4:2:0", 3, 2, 2, 85, 0, 0, 0, 0},
    {"4:2:2", 3, 2, 1, 75, 0, 0, 0, 0},
    {"4:4:4", 3, 1, 1, 90, 0, 0, 0, 0},
    {"4:4:0", 3, 1, 2, 80, 0, 0, 0, 0},
    {"4:1:1", 3, 4, 1, 80, 0, 0, 0, 0},
    {"gray", 1, 1, 1, 85, 0, 0, 0, 0},
    {"gray of 2 x 2", 1, 2, 2, 85, 0, 0, 0, 0},
    {"best", 3, 2, 2, 100, 0, 0, 0, 0},
    {"worst", 3, 2, 2, 3, 0, 0, 0, 0},
    {"own tables", 3, 2, 2, 85, 1, 0, 0, 0},
    {"own tables, best", 3, 1, 1, 100, 1, 0, 0, 0},
    {"progressive", 3, 2, 2, 85, 0, 1, 0, 0},
    {"restarts", 3, 2, 2, 85, 0, 0, 0, 3},
    {"arithmetic", 3, 2, 2, 85, 0, 0, 1, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds, WIDTH = 149, HEIGHT = 131 };

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 24;
}

// Smooth here, noisy there, and one flat corner: short and long codes, runs and empty blocks.
static uint8_t *make_picture(void) {
    uint8_t *rgb = malloc(WIDTH * HEIGHT * 3);
    uint64_t random = 7;
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < WIDTH; x++)
            for (size_t c = 0; c < 3; c++) {
                unsigned noise = x + y > 140 ? (unsigned)(next_random(&random) & 255) : 0;
                unsigned value = x < 40 && y < 40 ? 200 : (unsigned)(x * (c + 1) + y * 2 + noise / (1 + y / 40));
                rgb[(y * WIDTH + x) * 3 + c] = (uint8_t)(value > 255 ? 255 - value % 256 : value);
            }
    return rgb;
}

static size_t encode(const Kind *kind, const uint8_t *rgb, uint8_t **out_data) {
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr errors;
    unsigned long size = 0;
    encoder.err = jpeg_std_error(&errors);
    jpeg_create_compress(&encoder);
    *out_data = NULL;
    jpeg_mem_dest(&encoder, out_data, &size);
    encoder.image_width = WIDTH;
    encoder.image_height = HEIGHT;
    encoder.input_components = kind->components;
    encoder.in_color_space = kind->components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, kind->quality, TRUE);
    encoder.comp_info[0].h_samp_factor = kind->across;
    encoder.comp_info[0].v_samp_factor = kind->down;
    encoder.optimize_coding = kind->optimised;
    encoder.arith_code = kind->arithmetic;
    encoder.restart_interval = kind->restart;
    if (kind->progressive) jpeg_simple_progression(&encoder);
    jpeg_start_compress(&encoder, TRUE);
    while (encoder.next_scanline < HEIGHT) {
        uint8_t gray[WIDTH];
        const uint8_t *from = rgb + (size_t)encoder.next_scanline * WIDTH * 3;
        for (size_t x = 0; x < WIDTH; x++) gray[x] = from[3 * x];
        JSAMPROW row = kind->components == 1 ? gray : (JSAMPROW)from;
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    return size;
}

// What libjpeg alone makes of it. False: it left, or warned of lost data (then `rgb` may still be whole). *out_other:
// the header says another size, and nothing was decoded.
static bool decode_plain(const uint8_t *data, size_t size, uint8_t *rgb, bool *out_other) {
    static JpegTrap trap;
    *out_other = false;
    struct jpeg_decompress_struct decoder;
    decoder.err = jpeg_trap_begin(&trap);
    jpeg_create_decompress(&decoder);
    if (setjmp(trap.escape) == 0) {
        jpeg_mem_src(&decoder, data, size);
        jpeg_read_header(&decoder, TRUE);
        *out_other = decoder.image_width != WIDTH || decoder.image_height != HEIGHT;
        if (!*out_other) {
            decoder.jpeg_color_space = decoder.num_components == 1 ? JCS_GRAYSCALE : JCS_YCbCr;
            decoder.out_color_space = JCS_RGB;
            jpeg_start_decompress(&decoder);
            while (decoder.output_scanline < HEIGHT) {
                JSAMPROW row = rgb + (size_t)decoder.output_scanline * WIDTH * 3;
                jpeg_read_scanlines(&decoder, &row, 1);
            }
        }
    } else trap.damaged = true;
    jpeg_destroy_decompress(&decoder);
    return !trap.damaged;
}

static JpegTile tile_of(const Kind *kind, const uint8_t *data, size_t size) {
    return (JpegTile){.data = data,
                      .size = size,
                      .color = kind->components == 1 ? JPEG_TILE_GRAY : JPEG_TILE_YCBCR,
                      .width = WIDTH,
                      .height = HEIGHT,
                      .visible_width = WIDTH,
                      .visible_height = HEIGHT,
                      .channels = 3};
}

static void check_parts(JpegTiles *tiles, const JpegTile *tile, const uint8_t *whole, const char *name) {
    uint64_t random = 5;
    size_t wrong = 0;
    uint8_t *rgb = malloc(WIDTH * HEIGHT * 3);
    for (int i = 0; i < 300; i++) {
        size_t w = 1 + next_random(&random) % WIDTH, h = 1 + next_random(&random) % HEIGHT;
        if (i % 2) w = 1 + w % 20, h = 1 + h % 20;
        JpegPart part = {next_random(&random) % (WIDTH - w + 1), next_random(&random) % (HEIGHT - h + 1), w, h};
        if (!CHECK_OK(jpeg_tiles_decode_part(tiles, tile, part, rgb, w * 3))) break;
        for (size_t y = 0; y < h; y++)
            wrong += memcmp(rgb + y * w * 3, whole + ((part.y + y) * WIDTH + part.x) * 3, w * 3) != 0;
    }
    if (!CHECK(wrong == 0)) printf("    %s: %zu rows of parts\n", name, wrong);
    free(rgb);
}

// Where libjpeg sees nothing wrong we see nothing wrong, and what we accept has libjpeg's pixels.
static void check_damage(JpegTiles *tiles, const Kind *kind, const uint8_t *data, size_t size, int rounds) {
    uint8_t *bad = malloc(size), *ours = malloc(WIDTH * HEIGHT * 3), *plain = malloc(WIDTH * HEIGHT * 3);
    uint64_t random = 11;
    size_t strict = 0, wrong = 0, refused = 0;
    for (int i = 0; i < rounds; i++) {
        size_t length = size;
        memcpy(bad, data, size);
        memset(plain, 1, WIDTH * HEIGHT * 3);
        memset(ours, 2, WIDTH * HEIGHT * 3);
        if (i % 4 == 0) length = next_random(&random) % size;
        else
            for (int n = 0; n < i % 4; n++)
                bad[next_random(&random) % size] ^= (uint8_t)(1u << next_random(&random) % 8);
        JpegTile tile = tile_of(kind, bad, length);
        bool other = false, fine = decode_plain(bad, length, plain, &other);
        Status status = jpeg_tiles_decode(tiles, &tile, ours);
        if (status != STATUS_OK) refused++;
        else wrong += !other && memcmp(ours, plain, WIDTH * HEIGHT * 3) != 0;
        // The header may have come to say another number of components, which libjpeg has no quarrel with.
        strict += fine && !other && status != STATUS_OK && !strstr(status_message(status), "the page says");
        status_drop(status);
    }
    if (!CHECK(strict == 0 && wrong == 0)) printf("    %s: %zu too strict, %zu wrong\n", kind->name, strict, wrong);
    CHECK(refused > 0);
    free(bad);
    free(ours);
    free(plain);
}

static void test_kinds(void) {
    uint8_t *rgb = make_picture(), *ours = malloc(WIDTH * HEIGHT * 3), *plain = malloc(WIDTH * HEIGHT * 3);
    JpegTiles *tiles = NULL;
    if (!CHECK_OK(jpeg_tiles_create(&tiles))) return;
    for (int turn = 0; turn < 2; turn++) { // twice: tables that change back and forth
        for (size_t k = 0; k < KINDS; k++) {
            uint8_t *data = NULL;
            size_t size = encode(&kinds[k], rgb, &data);
            JpegTile tile = tile_of(&kinds[k], data, size);
            bool other = false;
            CHECK(decode_plain(data, size, plain, &other) && !other);
            CHECK_OK(jpeg_tiles_decode(tiles, &tile, ours));
            if (!CHECK(memcmp(ours, plain, WIDTH * HEIGHT * 3) == 0)) printf("    %s\n", kinds[k].name);
            if (turn == 0) check_parts(tiles, &tile, plain, kinds[k].name);
            else check_damage(tiles, &kinds[k], data, size, 400);
            free(data);
        }
    }
    jpeg_tiles_free(tiles);
    free(rgb);
    free(ours);
    free(plain);
}

// Streams that lost their tables, behind one that had them: without quantisers there is no picture; without Huffman
// codes the standard ones are meant, and not those of the stream before.
static void test_lost_tables(void) {
    uint8_t *rgb = make_picture(), *ours = malloc(WIDTH * HEIGHT * 3), *plain = malloc(WIDTH * HEIGHT * 3);
    uint8_t *own = NULL, *data = NULL;
    Kind optimised = kinds[0];
    optimised.optimised = true;
    size_t own_size = encode(&optimised, rgb, &own), size = encode(&kinds[0], rgb, &data);
    JpegTiles *tiles = NULL;
    bool other = false;
    CHECK(decode_plain(data, size, plain, &other));
    CHECK_OK(jpeg_tiles_create(&tiles));
    for (int marker = 0xC4; marker <= 0xDB; marker += 0xDB - 0xC4) {
        uint8_t *bare = malloc(size);
        size_t at = 2, found = 0;
        memcpy(bare, data, size);
        for (; at + 4 < size && bare[at + 1] != 0xDA; at += 2 + ((size_t)bare[at + 2] << 8 | bare[at + 3]))
            if (bare[at + 1] == marker) bare[at + 1] = 0xFE, found++; // a comment from here on
        CHECK(found > 0);
        JpegTile before = tile_of(&optimised, own, own_size), tile = tile_of(&kinds[0], bare, size);
        for (int twice = 0; twice < 2; twice++) {
            CHECK_OK(jpeg_tiles_decode(tiles, &before, ours));
            Status status = jpeg_tiles_decode(tiles, &tile, ours);
            if (marker == 0xDB) CHECK_FAILS(status, STATUS_MALFORMED, "Quantization table 0x00 was not defined");
            else CHECK(CHECK_OK(status) && memcmp(ours, plain, WIDTH * HEIGHT * 3) == 0);
        }
        free(bare);
    }
    jpeg_tiles_free(tiles);
    free(own);
    free(data);
    free(rgb);
    free(ours);
    free(plain);
}

int main(void) {
    made_begin();
    test_kinds();
    test_lost_tables();
    made_end();
    return check_report("slide_jpeg");
}
