// plan: reading the plan's text (spec/program.md) and asking it questions. Everything returned lives in the
// arena given.
#pragma once

#include "../core/arena.h"
#include "../core/status.h"
#include "program.h"

// Reads and checks the whole text: numbers in order, references inside their tables, buffers inside their
// groups. An error names the line; for the text inside an executable it means a bug in stmc.
MUST_USE Status plan_read(const char *text, size_t size, Arena *arena, StmPlan **out_plan);

size_t type_size(StmType type);
const char *type_name(StmType type); // "f32"

const StmJob *plan_job(const StmPlan *plan, const char *name);              // NULL: the program has none
int plan_tensor(const StmPlan *plan, StmTensorKind kind, const char *name); // -1: none
int plan_axis(const StmPlan *plan, const char *name);                       // -1: none
const StmSetting *plan_setting(const StmPlan *plan, const char *name);      // NULL: none
int job_output(const StmJob *job, const char *name);                        // -1: none
bool job_uses(const StmJob *job, int tensor);                               // is it among the job's buffers?
int64_t extent_of(StmExtent extent, const int64_t *value);                  // value: of every axis
int64_t tensor_elements(const StmTensor *tensor, const int64_t *value);
void axis_counts(const StmPlan *plan, int64_t *value);            // declared counts (bounds) of all axes
int64_t job_arena_bytes(const StmJob *job, const int64_t *value); // sum of the groups

// "f32[9*spot, 64, 78]" into `text`; returns `text`.
enum { SHAPE_TEXT = 256 };
const char *shape_text(const StmPlan *plan, const StmTensor *tensor, char text[SHAPE_TEXT]);
