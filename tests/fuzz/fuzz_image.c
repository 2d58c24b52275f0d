// Any bytes as a picture. The first byte says how they are taken: 'i' a file as it is, 'p' a PNG file whose chunks get
// right checksums first (or nothing behind the first chunk would ever be read), 'j' one JPEG tile of a slide with its
// tables apart. Whole, by regions and decoded in part; the pictures of both ways must agree. fuzz_slide does TIFF. The
// kept corpus lies in tests/fuzz/corpus/image.
#define FUZZ_NAME "fuzz_image"
#include "fuzz.h"
#include <zlib.h>

#include "../../runtime/data/image.h"
#include "../../runtime/data/slide_jpeg.h"

enum { LARGEST = 1 << 22, SIDE = 96 };

static void read_picture(const char *path) {
    ImageFile *image = NULL;
    Picture whole = {0};
    static uint8_t part[SIDE * SIDE * 3];
    bool loaded = fuzz_judge(image_load(path, LARGEST, &whole), path);
    if (fuzz_judge(image_open(path, &image), path)) {
        ImageInfo info = image_info(image);
        if (loaded && (info.width != whole.width || info.height != whole.height)) fuzz_broken("two sizes");
        size_t w = info.width < SIDE ? info.width : SIDE, h = info.height < SIDE ? info.height : SIDE;
        size_t x = (info.width - w) / 2, y = info.height - h;
        for (int again = 0; again < 2 && (uint64_t)info.width * info.height < LARGEST;
             again++, y = (info.height - h) / 3)
            if (fuzz_judge(image_read_region(image, x, y, w, h, part), path)) {
                fuzz_touch(part, w * h * 3);
                for (size_t row = 0; loaded && row < h; row++)
                    if (memcmp(part + row * w * 3, whole.rgb + ((y + row) * whole.width + x) * 3, w * 3) != 0)
                        fuzz_broken("a region differs from the whole");
            }
    }
    image_close(image);
    if (loaded) fuzz_touch(whole.rgb, whole.width * whole.height * 3);
    picture_free(&whole);
}

static uint32_t big(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// A copy with the checksum of every chunk put right.
static uint8_t *mend_png(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size + 1);
    if (!copy) abort();
    memcpy(copy, data, size);
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = big(copy + at);
        if (length > size - at - 12) break;
        uint32_t sum = (uint32_t)crc32(0, copy + at + 4, (uInt)length + 4);
        for (int i = 0; i < 4; i++) copy[at + 8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + length;
    }
    return copy;
}

// Byte 0: colour and channels, 1: width, 2: height, 3: what of it is visible, 4-5: bytes of the tables.
static void read_tile(const uint8_t *data, size_t size) {
    static uint8_t out[256 * 256 * 3], part[256 * 256 * 3];
    if (size < 6) return;
    size_t tables = (size_t)data[4] << 8 | data[5];
    if (tables > size - 6) tables = 0;
    JpegTile tile = {.tables = tables ? data + 6 : NULL,
                     .tables_size = tables,
                     .data = data + 6 + tables,
                     .size = size - 6 - tables,
                     .color = (JpegTileColor)(data[0] % 3),
                     .width = (size_t)data[1] + 1,
                     .height = (size_t)data[2] + 1};
    tile.channels = tile.color == JPEG_TILE_GRAY ? 1 : 3;
    tile.visible_width = tile.width - tile.width * (data[3] & 15) / 32;
    tile.visible_height = tile.height - tile.height * (data[3] >> 4) / 32;
    JpegTiles *tiles = NULL;
    if (!fuzz_judge(jpeg_tiles_create(&tiles), "")) return;
    Status status = jpeg_tiles_decode(tiles, &tile, out);
    bool whole = status == STATUS_OK;
    if (whole) fuzz_touch(out, tile.width * tile.height * (size_t)tile.channels);
    status_drop(status); // the caller adds the file's name
    JpegPart piece = {tile.visible_width / 3, tile.visible_height / 3, (tile.visible_width + 2) / 3,
                      (tile.visible_height + 2) / 3};
    status = jpeg_tiles_decode_part(tiles, &tile, piece, part, piece.width * 3);
    if (status == STATUS_OK) fuzz_touch(part, piece.width * piece.height * 3);
    else if (whole) fuzz_broken("a tile can be decoded whole and not in part");
    for (size_t y = 0; status == STATUS_OK && whole && tile.channels == 3 && y < piece.height; y++)
        if (memcmp(part + y * piece.width * 3, out + ((piece.y + y) * tile.width + piece.x) * 3, piece.width * 3) != 0)
            fuzz_broken("a part differs from the whole tile");
    status_drop(status);
    jpeg_tiles_free(tiles);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    char kind = (char)data[0];
    data++, size--;
    if (kind == 'j') {
        read_tile(data, size);
        return 0;
    }
    char path[FUZZ_PATH];
    uint8_t *mended = kind == 'p' ? mend_png(data, size) : NULL;
    int descriptor = fuzz_file(mended ? mended : data, size, path);
    read_picture(path);
    close(descriptor);
    free(mended);
    return 0;
}
