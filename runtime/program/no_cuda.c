// no_cuda: what an executable without the CUDA target holds in the place of its plan and code. The runtime is an
// archive: this file is linked only into executables that do not bring these four themselves.
#include "program.h"

const char stm_cuda_plan_text[] = "";
const uint64_t stm_cuda_plan_size = 0;
const unsigned char stm_cuda_image[] = {0};
const uint64_t stm_cuda_image_size = 0;
