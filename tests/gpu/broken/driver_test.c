// The shim as CUDA driver: work is done as late as the driver allows, captured work runs when its graph is launched,
// and misuse is reported. The same calls that the runtime makes, on the correct kernels of kernels.cu. Usage:
// driver_test CHECKED.so
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long Address;
typedef void *Handle;
int cuInit(unsigned);
int cuDeviceGetCount(int *);
int cuDeviceGetAttribute(int *, int, int);
int cuDevicePrimaryCtxRetain(Handle *, int);
int cuCtxSetCurrent(Handle);
int cuModuleLoadData(Handle *, const void *);
int cuModuleGetFunction(Handle *, Handle, const char *);
int cuMemAlloc_v2(Address *, size_t);
int cuMemFree_v2(Address);
int cuMemHostAlloc(void **, size_t, unsigned);
int cuMemFreeHost(void *);
int cuMemcpyHtoDAsync_v2(Address, const void *, size_t, Handle);
int cuMemcpyDtoHAsync_v2(void *, Address, size_t, Handle);
int cuMemsetD8Async(Address, unsigned char, size_t, Handle);
int cuStreamCreate(Handle *, unsigned);
int cuStreamSynchronize(Handle);
int cuStreamWaitEvent(Handle, Handle, unsigned);
int cuStreamBeginCapture_v2(Handle, int);
int cuStreamEndCapture(Handle, Handle *);
int cuEventCreate(Handle *, unsigned);
int cuEventRecord(Handle, Handle);
int cuEventSynchronize(Handle);
int cuEventElapsedTime(float *, Handle, Handle);
int cuGraphInstantiateWithFlags(Handle *, Handle, unsigned long long);
int cuGraphLaunch(Handle, Handle);
int cuLaunchKernel(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void **,
                   void **);
int cuGetErrorString(int, const char **);

static int passed, failed;
static void check_at(int line, bool good, const char *what) {
    passed += good;
    failed += !good;
    if (!good) printf("driver_test.c:%d: %s\n", line, what);
}
#define CHECK(condition) check_at(__LINE__, condition, #condition)

enum { N = 300, BYTES = N * 4 };

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    setenv("STM_SHIM_KERNELS", argv[1], 1);
    setenv("STM_SHIM_MEMORY", "100000", 1);
    setenv("STM_SHIM_ORDER", "shuffled:3", 1);
    int count = 0, major = 0;
    Handle context, module, copy, stream[2], event[2], function, graph, exec;
    Address x, y, none;
    CHECK(cuMemAlloc_v2(&x, 4) != 0); // before cuInit
    CHECK(cuInit(0) == 0 && cuDeviceGetCount(&count) == 0 && count == 1);
    CHECK(cuDeviceGetAttribute(&major, 75, 0) == 0 && major == 9);
    CHECK(cuMemAlloc_v2(&x, 4) == 201); // no context
    CHECK(cuDevicePrimaryCtxRetain(&context, 0) == 0 && cuCtxSetCurrent(context) == 0);
    CHECK(cuModuleLoadData(&module, "image") == 0);
    CHECK(cuModuleGetFunction(&copy, module, "tail_right") == 0);
    CHECK(cuModuleGetFunction(&function, module, "no_such_function") == 500);
    CHECK(cuMemAlloc_v2(&x, BYTES) == 0 && cuMemAlloc_v2(&y, BYTES) == 0);
    CHECK(cuMemAlloc_v2(&none, 99000) == 2); // out of memory
    CHECK(cuStreamCreate(&stream[0], 1) == 0 && cuStreamCreate(&stream[1], 1) == 0);
    CHECK(cuEventCreate(&event[0], 0) == 0 && cuEventCreate(&event[1], 0) == 0);
    float *in, *out;
    CHECK(cuMemHostAlloc((void **)&in, BYTES, 0) == 0 && cuMemHostAlloc((void **)&out, BYTES, 0) == 0);

    // A launch waits for its stream; what is pinned is read when the copy runs.
    int n = N;
    void *parameter[] = {&x, &y, &n};
    for (int i = 0; i < N; i++) in[i] = (float)i;
    out[5] = -1;
    CHECK(cuMemcpyHtoDAsync_v2(x, in, BYTES, stream[0]) == 0);
    CHECK(cuLaunchKernel(copy, 3, 1, 1, 128, 1, 1, 0, stream[0], parameter, NULL) == 0);
    CHECK(cuEventRecord(event[0], stream[0]) == 0);
    CHECK(cuStreamWaitEvent(stream[1], event[0], 0) == 0);
    CHECK(cuMemcpyDtoHAsync_v2(out, y, BYTES, stream[1]) == 0);
    in[5] = 50; // too early
    CHECK(out[5] == -1);
    CHECK(cuStreamSynchronize(stream[1]) == 0);
    CHECK(out[4] == 4 && out[5] == 50);
    // Memory that is not pinned is read at once.
    float plain[N];
    for (int i = 0; i < N; i++) plain[i] = (float)(2 * i);
    CHECK(cuMemcpyHtoDAsync_v2(x, plain, BYTES, stream[0]) == 0);
    plain[7] = 0;
    CHECK(cuMemcpyDtoHAsync_v2(out, x, BYTES, stream[0]) == 0 && cuStreamSynchronize(stream[0]) == 0);
    CHECK(out[7] == 14);

    // A graph: captured work runs when it is launched, any number of times, over two streams.
    CHECK(cuStreamBeginCapture_v2(stream[0], 2) == 0);
    CHECK(cuMemcpyHtoDAsync_v2(x, plain, BYTES, stream[0]) == 900); // not pinned
    CHECK(cuMemcpyHtoDAsync_v2(x, in, BYTES, stream[0]) == 0);
    CHECK(cuEventRecord(event[1], stream[0]) == 0 && cuStreamWaitEvent(stream[1], event[1], 0) == 0);
    CHECK(cuLaunchKernel(copy, 3, 1, 1, 128, 1, 1, 0, stream[1], parameter, NULL) == 0);
    CHECK(cuStreamSynchronize(stream[0]) == 900);
    CHECK(cuEventRecord(event[1], stream[1]) == 0 && cuStreamWaitEvent(stream[0], event[1], 0) == 0);
    CHECK(cuMemcpyDtoHAsync_v2(out, y, BYTES, stream[0]) == 0);
    CHECK(cuStreamEndCapture(stream[0], &graph) == 0 && cuGraphInstantiateWithFlags(&exec, graph, 0) == 0);
    n = 1; // parameters were copied
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < N; i++) in[i] = (float)(i + turn);
        CHECK(cuGraphLaunch(exec, stream[0]) == 0 && cuStreamSynchronize(stream[0]) == 0);
        CHECK(out[0] == (float)turn && out[N - 1] == (float)(N - 1 + turn));
    }
    CHECK(cuStreamBeginCapture_v2(stream[0], 2) == 0);
    CHECK(cuEventRecord(event[1], stream[0]) == 0 && cuStreamWaitEvent(stream[1], event[1], 0) == 0);
    CHECK(cuMemsetD8Async(y, 0, BYTES, stream[1]) == 0);
    CHECK(cuStreamEndCapture(stream[0], &graph) == 904); // nobody waits for stream 1

    CHECK(cuEventRecord(event[0], stream[0]) == 0 && cuEventRecord(event[1], stream[0]) == 0);
    float ms = -1;
    CHECK(cuEventElapsedTime(&ms, event[0], event[1]) == 600); // not ready
    CHECK(cuEventSynchronize(event[1]) == 0 && cuEventElapsedTime(&ms, event[0], event[1]) == 0 && ms >= 0);

    // Misuse. The first report stays.
    n = N;
    CHECK(cuLaunchKernel(copy, 3, 2, 1, 128, 1, 1, 0, stream[0], parameter, NULL) == 1);
    CHECK(cuLaunchKernel(copy, 3, 1, 1, 128, 1, 1, 60000, stream[0], parameter, NULL) == 1);
    CHECK(cuMemFreeHost(in) == 0 && cuMemFree_v2(x) == 0);
    CHECK(cuLaunchKernel(copy, 3, 1, 1, 128, 1, 1, 0, stream[0], parameter, NULL) == 0);
    CHECK(cuStreamSynchronize(stream[0]) == 719);
    const char *text = "";
    CHECK(cuGetErrorString(719, &text) == 0 && strstr(text, "tail_right") && strstr(text, "parameter 0"));
    CHECK(strstr(text, "freed") != NULL);
    CHECK(cuMemsetD8Async(y, 0, 4, stream[0]) == 719);
    printf("%s\n%d passed, %d failed\n", text, passed, failed);
    return failed != 0;
}
