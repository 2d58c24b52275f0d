// Broken specifications against the front half of the compiler: fuzz_compile STDLIB MUTANTS FILE.stm …   (build it
// with the sanitizers)
//
// Whatever the text, parsing, elaboration, differentiation and simplification end within ten seconds; they report an
// error or leave a program that the verifier accepts after each pass. Every mutant runs as jobs and as tests. A child
// process does the work, so that a crash, a broken invariant (exit 70) or a hang is one finding and not the end.
#include "mutate_spec.h"

#include "elaborate/elaborate.h"
#include "pass/pass.h"
#include "syntax/syntax.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 60 }; // a hang, also on a loaded machine under sanitizers

typedef struct Shared { // between the child that compiles and the parent that counts
    int done;           // mutants of this file that were finished
    int passed, failed, accepted;
    char name[64];
    char text[1 << 17];
    size_t size;
} Shared;

typedef struct Run {
    const char *file, *stdlib;
    int skip, at; // a new child goes on behind the mutant that ended the last one
    FILE *nowhere;
    Shared *shared;
} Run;

static const char *compile(Run *run, const char *text, size_t size, bool tests) {
    Arena *arena = arena_new();
    Names *names = names_new(arena);
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    // under the directory of the original, so that its `use "file.stm"` are found
    const char *slash = strrchr(run->file, '/');
    const char *path = arena_format(arena, "%.*smutant.stm", slash ? (int)(slash + 1 - run->file) : 0, run->file);
    int file = sources_add(&sources, path, text, size);
    Node *tree = parse_file(arena, names, &sources, d, file);
    const char *broken = NULL;
    Program *p = NULL;
    if (tree) {
        ElaborateOptions options = {.stdlib = run->stdlib, .real64 = tests, .tests = tests, .parse = parse_file};
        p = elaborate(arena, names, &sources, d, tree, &options);
        if (!p && diagnostics_count(d) == 0) broken = "no program and no error";
        if (p && diagnostics_count(d)) broken = "a program and an error";
    }
    if (p && !broken) {
        broken = program_verify(p);
        bool ok = !broken;
        for (int i = 0; ok && i < p->job.count; i++) ok = differentiate(p, p->job.at[i], d);
        if (ok && (broken = program_verify(p))) ok = false;
        for (int i = 0; ok && i < p->job.count; i++) simplify(p, p->job.at[i]);
        if (ok && (broken = program_verify(p))) ok = false;
        if (!broken && !ok && diagnostics_count(d) == 0) broken = "a pass failed without an error";
        if (ok) run->shared->accepted++;
    }
    diagnostics_print(d, run->nowhere, false);
    if (broken) printf("FAILED: %s: %s: %s\n", run->file, run->shared->name, broken);
    arena_free(arena);
    return broken;
}

static void check(void *context, const char *name, const char *text, size_t size) {
    Run *run = context;
    Shared *s = run->shared;
    if (run->at++ < run->skip) return;
    snprintf(s->name, sizeof s->name, "%s", name);
    s->size = size < sizeof s->text ? size : sizeof s->text;
    memcpy(s->text, text, s->size);
    alarm(SECONDS);
    bool failed = compile(run, text, size, false) != NULL;
    failed |= compile(run, text, size, true) != NULL;
    alarm(0);
    if (failed) {
        s->failed++;
        printf("%.*s\n----\n", (int)s->size, s->text);
        fflush(stdout);
    } else {
        s->passed++;
    }
    s->done = run->at;
}

typedef void Feed(Run *run, const void *what);

// Runs `feed` in children until all its mutants are done.
static void supervise(Run *run, Feed *feed, const void *what) {
    run->shared->done = 0;
    for (;;) {
        fflush(stdout);
        pid_t child = fork();
        if (child < 0) {
            perror("fork");
            exit(2);
        }
        if (child == 0) {
            run->skip = run->shared->done;
            run->at = 0;
            feed(run, what);
            fflush(stdout);
            _exit(0);
        }
        int status;
        while (waitpid(child, &status, 0) < 0) continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
        Shared *s = run->shared;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            printf("FAILED: %s: %s: not done after %d s\n", run->file, s->name, SECONDS);
        else if (WIFSIGNALED(status))
            printf("FAILED: %s: %s: killed by signal %d\n", run->file, s->name, WTERMSIG(status));
        else printf("FAILED: %s: %s: ended with status %d\n", run->file, s->name, WEXITSTATUS(status));
        printf("%.*s\n----\n", (int)(s->size < 6000 ? s->size : 6000), s->text);
        s->failed++;
        s->done++;
    }
}

static void feed_extremes(Run *run, const void *what) {
    (void)what;
    extreme_specs(10000, check, run);
    extreme_specs(900, check, run);
}

// What the mutations of good files hardly reach: numbers, nesting and loops that grow without bound.
static void feed_explosions(Run *run, const void *what) {
    static const char *const text[] = {
        "net p(x) -> y { y = 1 for i in 0 .. 9999 { for j in 0 .. 9999 { y = y + x[0] } } }",
        "net p(x) -> y { y = 1 for i in 0 .. 9999 { for j in 0 .. 9999 { for k in 0 .. 9999 { } } } }",
        "function f(x) = x * x  function g(x) = f(f(f(f(f(f(f(f(x))))))))  function h(x) = g(g(g(g(g(g(g(g(x))))))))"
        "net p(x) -> y[4] { y = h(x) }",
        "function f(x) = f(x) + f(x) net p(x) -> y[4] { y = f(x) }",
        "function f(x[..]) -> y[..] { y = f(x) + f(x) } net p(x) -> y[4] { y = f(x) }",
        "module f : x[..] -> y[..] { y = x |> a: f |> b: f } net p(x) -> y[4] { y = x |> f }",
        "net p(x) -> y { z[i < 1000000000, j < 1000000000, k < 1000000000] = 1  y = sum(z) }",
        "net p(x) -> y { z[i < 4] = x[i * 9000000000000000 * 9000000000000000]  y = sum(z) }",
        "net p(x) -> y { z[i < 4] = x[(i + 9000000000000000) * 9000000000000000]  y = sum(z) }",
        "net p(x) -> y { z[(i j)] = w[i, j]  w[i < 4000000000, j < 4000000000] = 1  y = sum(z) }",
        "net p(x) -> y { w[i < 4000000000, j < 4000000000] = 1  z[(i j k l)] = w[i, j] * w[k, l] y = sum(z) }",
        "net p(x) -> y { z[i < 0] = x[i]  y = sum(z) + max[j] z[j] + mean[j] z[j] }",
        "net p(x) -> y { z[i, (j < 0, k)] = x[i]  y = sum(z) }",
        "net p(x) -> y { z[i] = sum[(j < 0, k)] x[i] y = sum(z) }",
        "net p(x) -> y { z[j < 0, k] = x[(j k)] y = sum(z) }",
        "net p(x) -> y[4] { y[i] = x[i // 0] }",
        "net p(x) -> y[4] { y[i] = x[i % (0 - 1)] }",
        "net p(x) -> y[4] { y[i] = x[i] // 0 }",
        "net p(x) -> y[4] { n = 1 / 0  y[i] = x[i] * n }",
        "net p(x) -> y[4] { n = 10 ^ 400  z[i < n] = 1  y = x }",
        "net p(x) -> y[4] { n = 0 / 0  z[i < n] = 1  y = x }",
        "net p(x) -> y[4] { n = 2 ^ 60  for i in n .. n + 3 { y = x } }",
        "net p(x) -> y[4] { for i in 0 - 9000000000000000 .. 9000000000000000 { y = x } }",
        "net p(x) -> y[4] { a[i,j,k,l,m,n,o,q,r] = x[i] * x[j] * x[k] * x[l] * x[m] * x[n] * x[o] * x[q] * x[r] y = x "
        "}",
        "net p(x) -> y[4] { y = x[0] + sum[a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,q,r] x[a]*x[b]*x[c]*x[d]*x[e]*x[f]*x[g]*x[h]"
        "*x[i]*x[j]*x[k]*x[l]*x[m]*x[n]*x[o]*x[q]*x[r] }",
        "net p(x) -> y[4] { y[i] = x[x[x[x[x[i]]]]] }",
        "net p(x) -> y[4] { y[i] = x[int(x[int(x[int(x[i])])])] }",
        "net p(x) -> y[4] { y[..] = sum[..] x[..] }",
        "net p(x) -> y[4] { y[i] = sum[..] x[..] }",
        "net p(x) -> y[4] { y = concat(x, dim = 99999999999) }",
        "net p(x) -> y[4] { y = concat(x, dim = 0.5) }",
        "net p(x) -> y[4] { y = concat() }",
        "net p(x) -> y[4] { y = x |> concat }",
        "net p(x) -> y[4] { l = [1, 2]  y = x * index_of(l, 99999999999) }",
        "net p(x) -> y[4] { l = [1, [2, [3]]]  match l { 1 { y = x } else { y = l } } }",
        "net p(x) -> y[4] { y = bernoulli(0.5) }",
        "net p(x) -> y[4] { y = x |> 3 }",
        "net p(x) -> y[4] { y = (x, x) |> p }",
        "net p(x) -> y[4] { y = p(x) }",
        "net p(x) -> y[4] { y = (a: p)(x) }",
        "net p(x) -> y[4] { y = a.{x}: p(x) }",
        "net p(x) -> y[4] { y[i] = max[j](x[i]) }",
        "net p(x) -> y[4] { y[i] = softmax[i, i](x[i]) }",
        "function s(x[.., k]) -> y[.., k] { y = x } net p(x) -> y[4] { y[i] = s[i, i](x[i]) }",
        "function s(x[.., k]) -> y[.., k] { y = x } net p(x) -> y[4] { y[i] = s[q](x[i]) }",
        "function s(x[.., k]) -> y { y = 1 } net p(x) -> y[4] { y[i] = s[i]() }",
        "function s(x) = x  net p(x) -> y[4] { y[i] = s[i](x[i]) }",
        "module m(n) : x[..] -> y[..] { param w[n] ~ w[0]  y = x } net p(x) -> y[4] { y = x |> m(4) }",
        "module m(n) : x[..] -> y[..] { param w[n, n] ~ sum[i < n] uniform()  y = x } net p(x) -> y[4] { y = x |> m(4) "
        "}",
        "module m : x[..] -> y[..] { state s[..] = x  s <- s + s  y = s } net p(x) -> y[4] { y = x |> m }",
        "module m : x[..] -> y[..] { param s[..] ~ 1  s <- s + s  y = s } net p(x) -> y[4] { y = x |> m }",
        "module m : x[..] -> y[..] { param s[4, 1000000000, 1000000000, 1000000000] ~ 1  y = s } net p(x) -> y[4] { y "
        "= x |> m }",
        "module m : x[..] -> y[..] { param s : i64[4] ~ 1  y = x * s } net p(x) -> y[4] { y = x |> m }",
        "module m : x[..] -> y[..] { param s : bool[4] ~ true  y = s where x > 0 else x } net p(x) -> y[4] { y = x |> "
        "m }",
        "axis n = 0 net p(x) -> y[4] { y = x }",
        "axis n = 9000000000000000  net p(x) -> y[4] { z[i < n, j < n, k < n] = i + j + k  y[i] = x[i] + z[i, i, i] }",
        "axis n = dynamic axis m = dynamic input a : f32[n, m] net p(a) -> y[4] { z[(i j)] = a[i, j] y[i] = z[i] }",
        "option o = [] net p(x) -> y[4] { match o { else { y = x } } }",
        "option o = 1 in [2, x] net p(x) -> y[4] { y = x }",
        "option p = 1 net p(x) -> y[4] { y = x }",
        "optimizer o : p[..] { p <- p } net p(x) -> y[4] { y = x }",
        "schedule s = s() net p(x) -> y[4] { y = s() * x }",
        "net p(x) -> y { y = sum[i] (if 1 < 2 then x[i] else z[i]) ^ 2 ^ 2 ^ 2 ^ 2 }",
        "function f(x) = x * x  function g(x) = f(f(f(f(f(f(f(f(x))))))))  function h(x) = g(g(g(g(g(g(g(g(x))))))))"
        "net p(x) -> y { y = sum[i] h(x[i]) * h(h(x[i])) }",
        "net p(x) -> y[4] { y[i] = x[i] + sum[..] x[..] }",
        "net p(x) -> y[4] { y[i] = sum[i] x[i] }",
        "net p(x) -> y[4] { y[i] = sum[j < i] x[j] }",
        "net p(x) -> y[4] { y[i < uniform(x, x)] = x[i] }",
        "net p(x) -> y[4] { y = exp(\"a\") + x[\"a\"] }",
        "net p(x) -> y[4] { y[i] = exp(\"a\") }",
        "net p(x) -> y[4] { y[i] = \"a\" where x[i] > 0 else 1 }",
        "net p(x) -> y[4] { y = \"a\" where 1 < 2 else 1 }",
        "net p(x) -> y[4] { y = [x, x]  a, b = (x, x)  a, b = [x, x] }",
        "net p(x) -> y[4] { training = x  y = if training then x else x }",
        "net p(x) -> y[4] { y = x  x[i] = y[i]  y <- x }",
        "net p(x) -> y[4] { state s = 1  for i in 0 .. 3 { s <- s + i }  y = x * s }",
        "net p(x) -> y[4] { state s[4] = s  param q[4] ~ q  y = x * s }",
        "net p(x) -> y[4] { a.b.c.d: linear(4)(x)  y = x |> \"a\" |> b }",
        "net p(x) -> y[4] { m = linear  y = x |> a: m(4) |> b: m(4) |> m }",
        "net p(x) -> y[4] { m = a: linear(4)  n = b: m  y = x |> n }",
        "net p(x) -> y[4] { y = linear(4)(x)(x)(x) }",
        "net p(x) -> y[4] { y[(i)] = x[(i)] }",
        "net p(x) -> y[4] { y[i] = x[((i))] + x[-(-i)] + x[i % 4 // 2 % 3] }",
        "net p(x) -> y[4] { y[i] = x[i + 2147483647 * 2 * int(x[i])] }",
        "function f(a[i], b[i]) -> y[i] { y = a + b } net p(x) -> y[4] { z[i < 3] = 1  y = f(x, z) }",
        "function f(a[n, n]) -> y[n] { y[i] = a[i, i] } net p(x) -> y[4] { z[i < 3, j < 4] = 1  y = f(z) }",
        "function f(a[2 * n]) -> y[n] { y[i] = a[i] } net p(x) -> y[2] { y = f(x) }",
        "axis d = dynamic input e : f32[d, 4] net p(x) -> y[4] { z[i] = e[i, 0] + x[i]  y = x }",
        "axis d = dynamic input e : f32[d, 4] net p(x) -> y[4] { z[(i j)] = e[i, j]  w[i < 4, j] = z[(i j)] y = w[0, "
        "0] * x }",
        "axis d = dynamic input e : f32[d, 4] net p(x) -> y[4] { y[j] = mean[i where e[i, j] > 0] e[i, j] }",
        "axis d = dynamic input e : f32[d, 4] net p(x) -> y[4] { y[j] = sum[i, k] e[i, j] * e[k, j] * extent(i) }",
        "axis d = dynamic input e : f32[d, d, d] net p(x) -> y[4] { y[j] = x[j] * sum[i, k, l] e[i, k, l] }",
        "schedule s { factor = x } net p(x) -> y[4] { y = s() * x }",
    };
    (void)what;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        char whole[4096], name[32];
        int n =
            snprintf(whole, sizeof whole,
                     "use nn, optim\ninput x : f32[4]\n%s\nmodule tail : x[..] -> y[..] { param w[..] ~ 1 y = x * w }\n"
                     "predict { output y = p(x) }\n"
                     "train { loss = mean(tail(p(x))) if 1 < 2 { optimizer = adamw() } clip = norm(1) }\n"
                     "test \"t\" { x[i < 4] = i  y = p(x)  check gradients of y }\n",
                     text[i]);
        snprintf(name, sizeof name, "explosion %zu", i);
        check(run, name, whole, (size_t)n);
    }
}

// Lines of jobs with values of every kind where they do not belong: %s is the value, @ a loss.
static void feed_jobs(Run *run, const void *what) {
    static const char *const value[] = {"1",
                                        "-1",
                                        "0.5",
                                        "\"a\"",
                                        "true",
                                        "[1, 2]",
                                        "(1, 2)",
                                        "x",
                                        "x[0, 0]",
                                        "n",
                                        "p",
                                        "p(x)",
                                        "sgd",
                                        "sgd()",
                                        "sgd(lr = x)",
                                        "sgd(lr = \"a\")",
                                        "cosine",
                                        "cosine()",
                                        "cosine(warmup = x)",
                                        "norm(x)",
                                        "norm()",
                                        "norm(1, 2)",
                                        "value(p)",
                                        "mean(x)",
                                        "extent(n)",
                                        "step",
                                        "lr",
                                        "linear",
                                        "linear(3)",
                                        "a: linear(3)",
                                        "uniform()",
                                        "1 / 0",
                                        "0 / 0",
                                        "10 ^ 300",
                                        "sum[i, j] x[i, j]",
                                        "x |> linear(3)",
                                        "if training then 1 else x"};
    static const char *const line[] = {
        "train { loss = %s optimizer = sgd(lr = 1) }",
        "train { loss = @ optimizer = %s }",
        "train { loss = @ optimizer \"*\" = %s optimizer = sgd(lr = lr) }",
        "train { loss = @ optimizer = sgd(lr = %s) }",
        "train { loss = @ optimizer = sgd(lr = lr) schedule = %s }",
        "train { loss = @ optimizer = sgd(lr = lr) clip = %s }",
        "train { loss = @ optimizer = sgd(lr = lr) epochs = %s }",
        "train { loss = @ optimizer = sgd(lr = lr) shuffle = %s }",
        "train { loss = @ optimizer = sgd(lr = lr) monitor loss on validation keep min stop after %s }",
        "train { q = %s loss = @ * q optimizer = sgd(lr = lr) }",
        "train { loss = @ if %s { optimizer = sgd(lr = lr) } }",
        "train { loss = @ for i in %s { freeze \"a\" } optimizer = sgd(lr = lr) }",
        "train { loss = @ match %s { 1 { } else { optimizer = sgd(lr = lr) } } }",
        "evaluate { q = %s metric m = q }",
        "evaluate { q = p(x) metric m = %s }",
        "evaluate { q = %s compare q with x metric m = mean(q) }",
        "predict { output y = %s }",
        "predict { q = %s output y = q + x }",
        "predict { %s |> p output y = x }",
        "prepare { a = %s b = f(%s) c = g(d = %s) }",
        "option o = %s in [1, 2]",
        "setting o = %s in 0 .. 1",
        "axis o = %s",
        "input o : f32[%s, n]",
        "schedule o(a = %s) = a predict { output y = x * o() }",
        "optimizer o(lr, a = %s) : w[..], g[..] { w[..] <- w[..] - a * g[..] } train { loss = @ optimizer = o(lr = 1) "
        "}",
        "module o(a = %s) : w[..] -> y[..] { state s[a] = a s <- s y = w * a } predict { output y = x |> o }",
        "module o : w[b, c] -> y[b, c] { param s[c] ~ %s when %s y[i, j] = w[i, j] + s[j] } predict { output y = x |> "
        "o }",
        "test \"a\" { y = %s check y close %s within %s check gradients of y within %s check kernels <= %s }",
        "test \"a\" { check %s }",
    };
    (void)what;
    for (size_t l = 0; l < sizeof line / sizeof *line; l++)
        for (size_t v = 0; v < sizeof value / sizeof *value; v++) {
            char whole[4096], name[32];
            const char *w = value[v];
            int n = snprintf(whole, sizeof whole,
                             "use nn, optim, schedule\nsetting lr = 0.1\naxis n = dynamic\ninput x : f32[n, 3]\n"
                             "net p(x) -> y[n, 3] { y = x |> fc: linear(3) }\n");
            for (const char *c = line[l]; *c; c++) {
                const char *piece = w;
                char one[2] = {*c, 0};
                if (*c == '%' && c[1] == 's') c++;
                else if (*c == '@') piece = "mean(p(x) ^ 2)";
                else piece = one;
                n += snprintf(whole + n, sizeof whole - (size_t)n, "%s", piece);
            }
            snprintf(name, sizeof name, "job %zu %zu", l, v);
            check(run, name, whole, (size_t)n);
        }
}

typedef struct Original {
    const char *text;
    size_t size;
    uint64_t seed;
    int mutants;
} Original;

static void feed_mutants(Run *run, const void *what) {
    const Original *o = what;
    check(run, "unchanged", o->text, o->size);
    mutate_spec(o->text, o->size, o->seed, o->mutants, check, run);
}

int main(int count, char **argument) {
    if (count < 4) {
        fprintf(stderr,
                "usage: fuzz_compile STDLIB MUTANTS FILE.stm ...   (SEED in the environment for other mutants)\n");
        return 2;
    }
    Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Run run = {.stdlib = argument[1], .nowhere = fopen("/dev/null", "w"), .shared = shared};
    if (!run.nowhere || shared == MAP_FAILED) {
        perror("fuzz_compile");
        return 2;
    }
    const char *seed = getenv("SEED");
    run.file = "explosions";
    supervise(&run, feed_explosions, NULL);
    run.file = "jobs";
    supervise(&run, feed_jobs, NULL);
    run.file = "extremes";
    supervise(&run, feed_extremes, NULL);
    for (int i = 3; i < count; i++) {
        Arena *arena = arena_new();
        Sources sources = {.arena = arena};
        int file = sources_read(&sources, argument[i]);
        if (file < 0) {
            perror(argument[i]);
            return 2;
        }
        run.file = argument[i];
        Original o = {sources.file.at[file].text, (size_t)sources.file.at[file].size,
                      (uint64_t)i + (seed ? strtoull(seed, NULL, 10) * 1000 : 0), atoi(argument[2])};
        supervise(&run, feed_mutants, &o);
        arena_free(arena);
    }
    fclose(run.nowhere);
    printf("%d of the texts compile\n", shared->accepted);
    printf("%d passed, %d failed\n", shared->passed, shared->failed);
    return shared->failed != 0;
}
