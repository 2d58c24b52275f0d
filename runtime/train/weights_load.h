// weights_load: weights of any file that weights.h reads (safetensors, torch archives and streams, pickles of arrays,
// NPZ) into the machine's parameters.
//
// Tensors are found by their spec path. Where they all stand below one common name (such as "state_dict." or
// "state_dict.module."), that name is taken off: only if every wanted tensor is there, and the note says so; what
// stands outside of it (an optimizer's state, say) is not read and counted in a note. If several names would do, the
// file is refused. Below that name loading is all or nothing: missing, surplus and misshapen tensors are all listed,
// and nothing is loaded when there are any. The one exception are the whole-number scalars named num_batches_tracked
// that PyTorch's batch norms count in and nothing computes with: they are left out, which a note says. F16, BF16 and
// F64 become the parameter's type, which a note says too; other types are refused.
//
// State that is no weight (an optimizer's) keeps its value.
#pragma once

#include "session.h"

// Notes are lines with '\n'; none for weights that this executable wrote itself.

// For predicting: settings that the command line leaves open take the values that the weights were trained with.
MUST_USE Status weights_load(Session *session, const char *path, Text *notes);

// For training on from them: settings stay as they are. `labels`: the run's pairs "axis.NAME" with a JSON list of
// names; names that the weights record for the same axis must be equal, since tensors follow their order.
MUST_USE Status weights_start(Session *session, const char *path, const StmPair *labels, size_t labels_n, Text *notes);

// What the file records under a key ("axis.gene", "setting.lr", "program"), copied to the session's arena; NULL:
// nothing. Only safetensors record such things.
MUST_USE Status weights_recorded(Session *session, const char *path, const char *key, const char **out_text);
