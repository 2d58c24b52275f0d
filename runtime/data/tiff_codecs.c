// tiff_codecs: the two codecs that libtiff.a wants and this program leaves out.
//
// A static libtiff refers to every codec it was built with. Two of them are not linked: JBIG (bi-level fax
// pages; its library is GPL, which a program linked with it would have to follow) and LERC (elevation maps;
// its library is C++ and would drag libstdc++ into every executable). Neither occurs in tissue images.
// image_tiff.c refuses files with these compressions by name before decoding; the definitions below exist so
// that the program links, and they report failure to libtiff should it ever get here by another road. Nothing
// here can succeed.
#include <stddef.h>

// libtiff calls these through its own declarations; the prototypes below repeat just enough of them for the
// ABI.
enum { CODEC_ABSENT = 1 }; // any value other than 0 is an error for both libraries

void jbg_dec_init(void *state);
int jbg_dec_in(void *state, unsigned char *data, size_t length, size_t *used);
unsigned long jbg_dec_getsize(const void *state);
unsigned char *jbg_dec_getimage(const void *state, int plane);
void jbg_dec_free(void *state);
void jbg_enc_init(void *state, unsigned long width, unsigned long height, int planes, unsigned char **rows,
                  void (*sink)(unsigned char *, size_t, void *), void *context);
void jbg_enc_out(void *state);
void jbg_enc_free(void *state);
int jbg_newlen(unsigned char *data, size_t length);
const char *jbg_strerror(int code);
unsigned lerc_getBlobInfo(const unsigned char *blob, unsigned size, unsigned *info, double *range, int n_info,
                          int n_range);
unsigned lerc_decode(const unsigned char *blob, unsigned size, int n_masks, unsigned char *valid, int depth,
                     int columns, int rows, int bands, unsigned type, void *data);
unsigned lerc_encodeForVersion(const void *data, int version, unsigned type, int depth, int columns, int rows,
                               int bands, int n_masks, const unsigned char *valid, double max_error, unsigned char *out,
                               unsigned out_size, unsigned *written);

void jbg_dec_init(void *state) {
    (void)state;
}

int jbg_dec_in(void *state, unsigned char *data, size_t length, size_t *used) {
    (void)state, (void)data, (void)length;
    if (used) *used = 0;
    return CODEC_ABSENT;
}

unsigned long jbg_dec_getsize(const void *state) {
    return (void)state, 0ul;
}

unsigned char *jbg_dec_getimage(const void *state, int plane) {
    return (void)state, (void)plane, NULL;
}

void jbg_dec_free(void *state) {
    (void)state;
}

void jbg_enc_init(void *state, unsigned long width, unsigned long height, int planes, unsigned char **rows,
                  void (*sink)(unsigned char *, size_t, void *), void *context) {
    (void)state, (void)width, (void)height, (void)planes, (void)rows, (void)sink, (void)context;
}

void jbg_enc_out(void *state) {
    (void)state;
}

void jbg_enc_free(void *state) {
    (void)state;
}

int jbg_newlen(unsigned char *data, size_t length) {
    return (void)data, (void)length, CODEC_ABSENT;
}

const char *jbg_strerror(int code) {
    return (void)code, "JBIG compression is not built into this program";
}

unsigned lerc_getBlobInfo(const unsigned char *blob, unsigned size, unsigned *info, double *range, int n_info,
                          int n_range) {
    (void)blob, (void)size, (void)info, (void)range, (void)n_info, (void)n_range;
    return CODEC_ABSENT;
}

unsigned lerc_decode(const unsigned char *blob, unsigned size, int n_masks, unsigned char *valid, int depth,
                     int columns, int rows, int bands, unsigned type, void *data) {
    (void)blob, (void)size, (void)n_masks, (void)valid, (void)depth, (void)columns, (void)rows, (void)bands;
    (void)type, (void)data;
    return CODEC_ABSENT;
}

unsigned lerc_encodeForVersion(const void *data, int version, unsigned type, int depth, int columns, int rows,
                               int bands, int n_masks, const unsigned char *valid, double max_error, unsigned char *out,
                               unsigned out_size, unsigned *written) {
    (void)data, (void)version, (void)type, (void)depth, (void)columns, (void)rows, (void)bands, (void)n_masks;
    (void)valid, (void)max_error, (void)out, (void)out_size;
    if (written) *written = 0;
    return CODEC_ABSENT;
}
