// main: the executable's entry. Reads the command line, runs one command, prints an error if there is one,
// and turns it into the exit status: 0 done, 1 input or data at fault, 2 command line, 3 environment (disk,
// memory), 70 a bug.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // sigaction
#endif

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "commands.h"

// The one piece of global state: a signal handler can reach nothing else.
static volatile sig_atomic_t stop_signal;

static void on_signal(int number) {
    stop_signal = number;
}

static void catch_signals(void) {
    // SA_RESETHAND: a second signal ends the process at once.
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); // a closed pipe is a write error with a message
}

static int report(const char *executable, Status status, int code) {
    fflush(stdout);
    fprintf(stderr, "%s: error: %s\n", executable, status_message(status));
    status_drop(status);
    return code;
}

static int run_command(const CommandInput *input, const char *executable) {
    Status status = STATUS_OK;
    int failed = 0;
    switch (input->options->command) {
    case COMMAND_PREPARE: status = command_prepare(input); break;
    case COMMAND_TRAIN: status = command_train(input); break;
    case COMMAND_PREDICT:
    case COMMAND_EMBED: status = command_predict(input); break;
    case COMMAND_EVALUATE: status = command_evaluate(input); break;
    case COMMAND_INFO: status = command_info(input); break;
    case COMMAND_BENCH: status = command_bench(input); break;
    case COMMAND_TEST: status = command_test(input, &failed); break;
    case COMMAND_NONE:
    case COMMANDS: break;
    }
    if (status == STATUS_OK) status = command_profile(input);
    if (fflush(stdout) != 0 && status == STATUS_OK) status = status_errno(errno, "cannot write the output");
    if (status != STATUS_OK) return report(executable, status, status_exit_code(status));
    return failed ? 1 : 0;
}

int main(int argc, char **argv) {
    const char *executable = argc ? path_base(argv[0]) : "program";
    Session session;
    Options options;
    int code = 0;
    Status status = session_open(&session, stm_plan_text, (size_t)stm_plan_size);
    if (status != STATUS_OK) {
        code = report(executable, status, status_exit_code(status));
        session_close(&session);
        return code;
    }
    session.has_cuda = stm_cuda_plan_size > 0;
    status = options_read(&session, argc, argv, &options);
    if (status != STATUS_OK) {
        code = report(executable, status, 2);
    } else if (options.help) {
        Text text = {0};
        help_write(&session, executable, options.command, &text);
        fputs(text_string(&text), stdout);
        text_free(&text);
    } else if (options.version) {
        printf("%s, compiled by stmc %s\n", session.plan->name, session.plan->version);
    } else {
        catch_signals();
        ProgramCode program = {
            stm_kernels, stm_cuda_plan_text, (size_t)stm_cuda_plan_size, {stm_cuda_image, (size_t)stm_cuda_image_size}};
        CommandInput input = {&session, &options, &program, stm_plan_text, (size_t)stm_plan_size, &stop_signal};
        code = run_command(&input, executable);
    }
    session_close(&session);
    return code;
}
