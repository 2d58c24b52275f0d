// contract_sources DIRECTORY [FILES]: writes the test instances as FILES sources of CUDA C (default 4), contract0.cu
// ..., for tests/gpu/shim/build_shim.sh or nvcc.
#include <stdlib.h>

#include "instances.h"

int main(int count, char **argument) {
    if (count < 2) return fprintf(stderr, "usage: contract_sources DIRECTORY [FILES]\n"), 2;
    int files = count > 2 ? atoi(argument[2]) : 4;
    for (int f = 0; f < files; f++) {
        char path[4096], text[4096];
        snprintf(path, sizeof path, "%s/contract%d.cu", argument[1], f);
        FILE *out = fopen(path, "w");
        if (!out) return fprintf(stderr, "%s: cannot be written\n", path), 3;
        fputs("#include \"gather.cuh\"\n", out);
        for (int i = f; i < TEST_INSTANCES; i += files) {
            test_instance_text(text, sizeof text, &test_instance[i]);
            fputs(text, out);
        }
        if (fclose(out)) return fprintf(stderr, "%s: cannot be written\n", path), 3;
    }
    return 0;
}
