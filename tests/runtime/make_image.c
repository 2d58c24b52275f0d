// make_image: writes an image (compiler/target/cuda/image.h) as the elements of a C array: make_image FUNCTION...
// >FILE. Its modules are words, not code; what reads it gets what the compiler's writer makes.
#include <stdio.h>
#include <string.h>

#include "target/cuda/image.h"

int main(int argc, char **argv) {
    enum { MOST = 64, MODULES = 4 };
    static const struct {
        ImageKind kind;
        int arch, shard;
        const char *text;
    } made[MODULES] = {{IMAGE_PTX, 80, 0, "ptx 80 0"},
                       {IMAGE_CUBIN, 90, 1, "cubin 90 1"},
                       {IMAGE_CUBIN, 90, 0, "cubin 90 0"},
                       {IMAGE_PTX, 80, 1, "ptx 80 1"}};
    Arena *arena = arena_new();
    ImageModule module[MODULES] = {0};
    ImageFunction function[MOST];
    int functions = 0;
    for (int i = 0; i < MODULES; i++) {
        const char *error = image_pack(arena, made[i].text, strlen(made[i].text) + 1, &module[i]);
        if (error) {
            fprintf(stderr, "make_image: %s\n", error);
            return 1;
        }
        module[i].kind = made[i].kind;
        module[i].arch = made[i].arch;
        module[i].shard = made[i].shard;
    }
    for (int i = 1; i < argc && functions < MOST; i++)
        function[functions++] = (ImageFunction){.name = argv[i], .shard = i % 2};
    size_t size = 0;
    const unsigned char *image = image_build(arena, module, MODULES, function, functions, 2, &size);
    for (size_t i = 0; i < size; i++) printf("%u,%s", image[i], i % 24 == 23 ? "\n" : "");
    printf("\n");
    return image ? 0 : 1;
}
