// Reads registers, shared memory and spills of functions. See cubin.h.
#include "target/cuda/cubin.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

// ---- the log of --ptxas-options=-v:
//   ptxas info    : Compiling entry function 'NAME' for 'sm_80'
//   ptxas info    : Function properties for NAME
//   ptxas         .     0 bytes stack frame, 16 bytes spill stores, 16 bytes spill loads
//   ptxas info    : Used 12 registers, used 1 barriers, 1024 bytes smem, 364 bytes cmem[0]

// The number that stands before `word` on the line from `at`; -1: none.
static int64_t number_before(const char *at, const char *word) {
    const char *end = strchr(at, '\n');
    const char *found = strstr(at, word);
    if (!found || (end && found > end)) return -1;
    const char *digit = found;
    while (digit > at && digit[-1] >= '0' && digit[-1] <= '9') digit--;
    return digit < found ? strtoll(digit, NULL, 10) : -1;
}

bool cubin_from_log(const char *log, const char *name, CubinResources *out) {
    static const char head[] = "Compiling entry function '";
    size_t length = strlen(name);
    const char *at = log;
    while ((at = strstr(at, head)) != NULL) {
        at += sizeof head - 1;
        if (!strncmp(at, name, length) && at[length] == '\'') break;
    }
    if (!at) return false;
    CubinResources r = {-1, 0, 0};
    for (const char *line = strchr(at, '\n'); line && *++line; line = strchr(line, '\n')) {
        if (number_before(line, " registers") < 0) {
            const char *next = strchr(line, '\n'), *other = strstr(line, head);
            if (other && (!next || other < next)) break; // the next function
        }
        int64_t stores = number_before(line, " bytes spill stores"), loads = number_before(line, " bytes spill loads");
        if (stores > 0) r.spills += stores;
        if (loads > 0) r.spills += loads;
        int64_t registers = number_before(line, " registers");
        if (registers < 0) continue;
        r.registers = (int)registers;
        int64_t shared = number_before(line, " bytes smem");
        if (shared > 0) r.static_shared = shared;
        *out = r;
        return true;
    }
    return false;
}

// ---- the ELF file: .nv.info holds attributes, a byte of format, a byte that names it, two bytes of size or value.
enum { FORMAT_SIZED = 4, ATTRIBUTE_FRAME = 0x11, ATTRIBUTE_REGISTERS = 0x2f };

typedef struct Elf {
    const unsigned char *bytes;
    size_t size;
    Elf64_Ehdr header;
} Elf;

static bool elf_section(const Elf *e, unsigned number, Elf64_Shdr *out) {
    uint64_t at = e->header.e_shoff + (uint64_t)number * sizeof *out;
    if (number >= e->header.e_shnum || at > e->size || e->size - at < sizeof *out) return false;
    memcpy(out, e->bytes + at, sizeof *out);
    if (out->sh_type == SHT_NOBITS) return true;
    return out->sh_offset <= e->size && out->sh_size <= e->size - out->sh_offset;
}

// Text of a string section; NULL when it is not there.
static const char *elf_text(const Elf *e, unsigned section, uint64_t at) {
    Elf64_Shdr s;
    if (!elf_section(e, section, &s) || s.sh_type != SHT_STRTAB || at >= s.sh_size) return NULL;
    const char *text = (const char *)e->bytes + s.sh_offset + at;
    return memchr(text, 0, s.sh_size - at) ? text : NULL;
}

static int symbol_number(const Elf *e, const char *name) {
    for (unsigned i = 0; i < e->header.e_shnum; i++) {
        Elf64_Shdr s;
        if (!elf_section(e, i, &s) || s.sh_type != SHT_SYMTAB) continue;
        for (uint64_t k = 0; (k + 1) * sizeof(Elf64_Sym) <= s.sh_size; k++) {
            Elf64_Sym symbol;
            memcpy(&symbol, e->bytes + s.sh_offset + k * sizeof symbol, sizeof symbol);
            const char *text = elf_text(e, s.sh_link, symbol.st_name);
            if (text && !strcmp(text, name)) return (int)k;
        }
    }
    return -1;
}

static uint32_t word_at(const unsigned char *b) {
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void read_notes(const unsigned char *b, uint64_t size, int symbol, CubinResources *out) {
    for (uint64_t at = 0; at + 4 <= size;) {
        uint64_t length = b[at] == FORMAT_SIZED ? (uint64_t)b[at + 2] | (uint64_t)b[at + 3] << 8 : 0;
        if (length > size - at - 4) return;
        if (length >= 8 && word_at(b + at + 4) == (uint32_t)symbol) {
            if (b[at + 1] == ATTRIBUTE_REGISTERS) out->registers = (int)(word_at(b + at + 8) & 0xffff);
            if (b[at + 1] == ATTRIBUTE_FRAME) out->spills = word_at(b + at + 8);
        }
        at += 4 + length;
    }
}

bool cubin_from_elf(const void *bytes, size_t size, const char *name, CubinResources *out) {
    Elf e = {.bytes = bytes, .size = size};
    if (size < sizeof e.header) return false;
    memcpy(&e.header, bytes, sizeof e.header);
    if (memcmp(e.header.e_ident, ELFMAG, SELFMAG) != 0 || e.header.e_ident[EI_CLASS] != ELFCLASS64) return false;
    int symbol = symbol_number(&e, name);
    if (symbol < 0) return false;
    CubinResources r = {-1, 0, 0};
    for (unsigned i = 0; i < e.header.e_shnum; i++) {
        Elf64_Shdr s;
        if (!elf_section(&e, i, &s)) continue;
        const char *section = elf_text(&e, e.header.e_shstrndx, s.sh_name);
        if (!section) continue;
        if (!strcmp(section, ".nv.info")) read_notes(e.bytes + s.sh_offset, s.sh_size, symbol, &r);
        if (!strncmp(section, ".nv.shared.", 11) && !strcmp(section + 11, name)) r.static_shared = (int64_t)s.sh_size;
    }
    if (r.registers < 0) return false;
    *out = r;
    return true;
}
