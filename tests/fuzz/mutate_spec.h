// Broken specifications, made from good ones: the same ones for the same seed on every machine. What receives
// them must neither crash nor hang, whatever they hold.
#ifndef STMC_MUTATE_SPEC_H
#define STMC_MUTATE_SPEC_H

#include <stddef.h>
#include <stdint.h>

// `text` has `size` bytes, any of which may be NUL, and a NUL behind them; it lives until the call returns.
typedef void MutantCheck(void *context, const char *name, const char *text, size_t size);

// `count` mutants of one specification: bytes flipped, tokens dropped, doubled, swapped and replaced, lines
// doubled, the end cut off.
void mutate_spec(const char *text, size_t size, uint64_t seed, int count, MutantCheck *check, void *context);

// `count` texts that differ from a good one in white space and comments only, so they mean the same.
void relayout_spec(const char *text, size_t size, uint64_t seed, int count, MutantCheck *check, void *context);

// Extreme texts: every construct nested `depth` deep, long chains and lists, empty and odd files.
void extreme_specs(int depth, MutantCheck *check, void *context);

#endif
