// annotated_share: an Annotated on its way from a guarded child to its parent (guard.h).
#pragma once

#include "annotated.h"
#include "guard.h"

// In the child: copies into the block everything of `annotated` that is not there yet (arrays of matrices that were
// read straight into the block stay where they are) and makes it the block's result. `annotated` itself is left as it
// is and still owns what it owned.
MUST_USE Status annotated_share(const char *path, const Annotated *annotated, GuardBlock *block);

// In the parent: checks every pointer and number of the block's result and moves it, with the block, to
// *out_annotated. The block is taken over in either case.
MUST_USE Status annotated_receive(const char *path, GuardBlock *block, Annotated *out_annotated);
