/* Contractions for the CPU target: one emitter for GEMM, batched GEMM, convolution and both of its gradients.

   Meaning:  out[B.., M.., N..] = store( sum over K.. of p(B.., M.., K..) * q(B.., N.., K..) )
   Each operand is a logical tensor with stored dimensions; a coordinate along a stored dimension is an affine
   expression of the indices.  A guarded dimension reads as zero outside [0, size) and, with a divisor above 1,
   wherever the affine value is not divisible.

   Use: fill a ContractSpec, contract_plan() it for all CPU levels at once, contract_emit() each plan into its LLVM
   module, then run the phases in order with a barrier between them.  Every phase has the signature

       void phase(void *const *buffer, const int64_t *extent, void *scratch, int64_t first_part, int64_t last_part)

   and may be called for any sub-range of [0, contract_parts(parts, extent)): results are bit-identical for every way
   of cutting the range.  Phases, parts, scratch and workspaces are the same for all levels that were planned together
   (a level that has nothing to do in a phase gets an empty function).  `scratch` is private to the calling thread,
   plan.scratch_bytes long and 64-byte aligned; its content need not survive a call.  The workspaces (those with
   bytes > 0) are 64-byte aligned blocks of contract_workspace_bytes() that live from the first phase to the last; they
   need no initial value.

   Ownership: spec and plan are plain values; the plan keeps no pointer into the spec except the callbacks and names.
   Strings in `name` must outlive contract_emit.  Errors: functions return false and fill `error`. */
#ifndef STMC_TARGET_CPU_CONTRACT_H
#define STMC_TARGET_CPU_CONTRACT_H

#include <llvm-c/Core.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONTRACT_MAX_INDICES = 14,
    CONTRACT_MAX_DIMS = 10,
    CONTRACT_MAX_TERMS = 4,
    CONTRACT_MAX_FACTORS = 4,
    CONTRACT_MAX_PHASES = 3,
    CONTRACT_WORKSPACES = 2,
    CONTRACT_ERROR_LENGTH = 256,
};

typedef enum { CONTRACT_F32, CONTRACT_F64 } ContractType;
typedef enum { CONTRACT_BATCH, CONTRACT_M, CONTRACT_N, CONTRACT_K } ContractRole;

/* What the emitter needs to know about the machine that the code is for. */
typedef struct CpuFeatures {
    const char *cpu;      /* value of the "target-cpu" attribute, e.g. "x86-64-v4" */
    const char *features; /* value of "target-features", may be "" */
    int vector_bytes;     /* 16, 32 or 64 */
    int registers;        /* vector registers: 16 or 32 */
    bool fma;             /* fused multiply-add exists */
    int64_t cache_bytes;  /* second-level cache of a core; blocks are sized by it (tests pass tiny ones) */
} CpuFeatures;

/* x86-64 micro-architecture level 2, 3 or 4. */
CpuFeatures contract_cpu_level(int level);

/* A number known when the kernel runs: constant * product of extent[slot[..]]. */
typedef struct ContractSize {
    int64_t constant;
    int factors;
    int slot[CONTRACT_MAX_FACTORS];
} ContractSize;

static inline ContractSize contract_constant(int64_t value) {
    return (ContractSize){.constant = value};
}

typedef struct ContractIndex {
    const char *name; /* for dumps and messages; NULL is allowed */
    ContractRole role;
    int64_t extent; /* constant extent, or -1: factor * extent[slot] when the kernel runs */
    int slot;
    int64_t factor;  /* 0 means 1 */
    int64_t typical; /* dynamic extents: the size to optimise for; 0 means 32 */
} ContractIndex;

typedef struct ContractTerm {
    int index;
    int64_t coefficient;
} ContractTerm;

/* coordinate = (offset + sum of coefficient * index) / divisor */
typedef struct ContractDim {
    int terms;
    ContractTerm term[CONTRACT_MAX_TERMS];
    int64_t offset;
    int64_t divisor;     /* 0 or 1: none */
    bool guarded;        /* outside [0, size) the operand is zero; unguarded coordinates must be in range */
    ContractSize size;   /* extent of the stored dimension; read only when guarded */
    ContractSize stride; /* in elements; with a load callback a hint for the packing order (largest outermost) */
} ContractDim;

/* Where code is being emitted.  A callback may add blocks; it leaves `builder` at the end of the block in which
   emission continues.  `buffers` and `extents` are the kernel's own arguments. */
typedef struct EmitPoint {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMValueRef function;
    LLVMValueRef buffers;
    LLVMValueRef extents;
    LLVMTypeRef element;
    const CpuFeatures *cpu;
} EmitPoint;

/* Evaluates the operand at coordinate[dim] (i64 each, already inside the guards).  lanes == 1: a scalar of the
   element type.  lanes > 1: a vector of the elements at coordinate[lane_dim] + 0 .. lanes-1, all of them inside. */
typedef LLVMValueRef (*ContractLoad)(void *user, EmitPoint *at, const LLVMValueRef coordinate[], int lane_dim,
                                     int lanes);

/* Consumes one vector of finished sums for index[lane_index] + 0 .. lanes-1 (index[] is i64 per spec index; entries
   of K indices are NULL).  lane_index is -1 when the spec has neither M nor N (lane 0 is the only valid one).
   mask (<lanes x i1>) is NULL when all lanes are valid.  It is called exactly once per output element. */
typedef void (*ContractStore)(void *user, EmitPoint *at, LLVMValueRef sums, const LLVMValueRef index[], int lane_index,
                              int lanes, LLVMValueRef mask);

typedef struct ContractOperand {
    int dims;
    ContractDim dim[CONTRACT_MAX_DIMS];
    int buffer;        /* plain tensor: which buffer */
    ContractSize base; /* and the element number of coordinate 0,0,.. */
    ContractLoad load; /* NULL: plain tensor */
    void *user;
} ContractOperand;

typedef struct ContractSpec {
    const char *name; /* the phases are called name_pack, name, name_combine */
    ContractType type;
    int indices;
    ContractIndex index[CONTRACT_MAX_INDICES];
    ContractOperand p, q;
    int out_buffer;
    ContractSize out_base;
    ContractSize
        out_stride[CONTRACT_MAX_INDICES]; /* elements per step of B, M, N indices; a hint with a store callback */
    bool out_accumulate;                  /* plain output: out += sum instead of out = sum */
    ContractStore store;                  /* NULL: plain output */
    void *store_user;
    int workspace_buffer[CONTRACT_WORKSPACES]; /* buffer numbers for the plan's workspaces */
} ContractSpec;

/* ceil(count * extent[slot] / divide), without the extent when slot is -1 */
typedef struct ContractParts {
    int64_t count;
    int slot;
    int64_t divide;
} ContractParts;

/* bytes per unit of extent[slot[0]] * extent[slot[1]]; -1 is factor 1.  bytes is a multiple of 64, 0: not used */
typedef struct ContractWorkspace {
    int64_t bytes;
    int slot[2];
} ContractWorkspace;

int64_t contract_parts(ContractParts parts, const int64_t *extent);
int64_t contract_workspace_bytes(ContractWorkspace workspace, const int64_t *extent);

/* factor * product of ceil(scale * extent[slot] / divisor): the parts that one level really has */
typedef struct ContractCount {
    int64_t factor;
    int terms;
    int slot[CONTRACT_MAX_INDICES];
    int64_t scale[CONTRACT_MAX_INDICES];
    int64_t divisor[CONTRACT_MAX_INDICES];
    int64_t typical[CONTRACT_MAX_INDICES]; /* of the scaled extent */
} ContractCount;

typedef enum { CONTRACT_PHASE_PACK, CONTRACT_PHASE_MAIN, CONTRACT_PHASE_COMBINE } ContractPhaseKind;

typedef struct ContractPhase {
    ContractPhaseKind kind;
    ContractParts parts;
} ContractPhase;

typedef enum { CONTRACT_DIRECT, CONTRACT_PACK_PART, CONTRACT_PACK_PHASE } ContractAccess;

/* How one index is cut.  The part level takes blocks of `local`; tiles cut a block further. */
typedef struct ContractCut {
    int64_t local; /* largest number of values handled at once (layout of scratch) */
    int64_t tile;  /* M: rows of a register tile along this index */
    bool split;    /* parts enumerate blocks of this index */
    bool blocked;  /* K: summed block by block inside a part */
} ContractCut;

/* The result of planning.  Callers read phases, scratch_bytes and workspace; the rest is for contract_emit. */
typedef struct ContractPlan {
    int phases;
    ContractPhase phase[CONTRACT_MAX_PHASES];
    int64_t scratch_bytes;
    ContractWorkspace workspace[CONTRACT_WORKSPACES]; /* partial sums and a last short panel; packed panels */

    bool has[CONTRACT_MAX_PHASES];                /* by kind: this level has work in that phase, */
    ContractCount own_parts[CONTRACT_MAX_PHASES]; /* by kind: in so many parts of its own */

    ContractSpec spec; /* normalised: p is broadcast, q runs along lanes, K windows run upwards */
    CpuFeatures cpu;
    bool swapped;
    bool virtual_lane; /* the spec had no M and no N: a lane index of extent 1 was added */
    int lane;          /* the index along vector lanes */
    int vl;            /* lanes of a vector */
    int nv, nv_tail;   /* vectors of a tile; of the last panel (0: none) */
    int64_t panels;    /* full panels of a block of the lane index, without the tail panel */
    int row_index[2];  /* M indices that make the rows of a tile; -1: none */
    ContractCut cut[CONTRACT_MAX_INDICES];
    ContractAccess p_access, q_access;
    int p_order[CONTRACT_MAX_DIMS];       /* packed p: stored dimensions, outermost first */
    int64_t p_pitch[CONTRACT_MAX_DIMS];   /* packed p: elements per step of a stored dimension */
    int64_t p_step[CONTRACT_MAX_INDICES]; /* elements per step of an index, packed or direct (constant ones) */
    int64_t p_origin;                     /* packed p: element of local index 0,0,.. */
    int64_t p_elements;
    int k_order[CONTRACT_MAX_INDICES], k_count;
    int64_t q_rows[CONTRACT_MAX_INDICES];   /* packed q: lane rows per step of a K or non-lane N index */
    int64_t q_step[CONTRACT_MAX_INDICES];   /* direct q: elements per step */
    int64_t q_panel_rows;                   /* packed q: lane rows of a panel */
    int64_t pack_chunk, pack_chunks;        /* pack phase: values of the outermost K index per part, and parts */
    bool sums_in_memory;                    /* accumulators live in memory between K blocks */
    int64_t sum_step[CONTRACT_MAX_INDICES]; /* rows (of nv*vl sums) per step of an M or non-lane N index */
    int64_t sum_rows;                       /* rows of one panel */
    int64_t sum_elements;                   /* of one part */
    int groups;                             /* K groups with partial sums; 1: none */
    int group_index;
    int64_t mn_parts;                  /* groups > 1: parts per group */
    int64_t combine_ways, combine_run; /* combine parts per main part; consecutive tiles of one */
    int64_t partial_bytes;
    int64_t scratch_p, scratch_q, scratch_sums; /* byte offsets */
    double cycles;                              /* estimate for typical extents, one core */
    double flops;                               /* for typical extents */
} ContractPlan;

/* Plans for `levels` CPUs at once; phases, scratch_bytes and workspace of all plans agree. */
bool contract_plan(const ContractSpec *spec, const CpuFeatures cpu[], int levels, ContractPlan plan[],
                   char error[CONTRACT_ERROR_LENGTH]);

/* A readable description, a few lines; returns the length that was needed (as snprintf). */
int contract_plan_print(const ContractPlan *plan, char *text, size_t size);

/* Adds the functions of all phases to the module.  out_function[phase] receives them in phase order. */
bool contract_emit(const ContractPlan *plan, LLVMModuleRef module, LLVMValueRef out_function[CONTRACT_MAX_PHASES],
                   char error[CONTRACT_ERROR_LENGTH]);

/* Runs the passes that the emitted code needs (it is vectorised already): returns false with LLVM's message. */
bool contract_optimise(LLVMModuleRef module, void *target_machine, char error[CONTRACT_ERROR_LENGTH]);

#endif
