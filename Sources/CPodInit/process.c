#define _GNU_SOURCE
#include "CLinux.h"
#include "CPodInit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int cx_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -errno;
    signal(SIGPIPE, SIG_IGN);
    int descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int cx_next_signal(int signals) {
    struct signalfd_siginfo information;
    ssize_t count;
    do {
        count = read(signals, &information, sizeof information);
    } while (count < 0 && errno == EINTR);
    return count == (ssize_t)sizeof information ? (int)information.ssi_signo : -EAGAIN;
}

int cx_reap(int *code) {
    int status;
    pid_t process;
    do {
        process = waitpid(-1, &status, WNOHANG);
    } while (process < 0 && errno == EINTR);
    if (process < 0) return -errno;
    if (process > 0) *code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return process;
}

long cx_raise_file_limit(void) {
    long before;
    return cx_raise_file_limit_from(&before);
}

long cx_raise_file_limit_from(long *before) {
    struct rlimit limit;
    *before = 1024;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;
    *before = (long)limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;
    return limit.rlim_cur > 1 << 20 ? 1 << 20 : (long)limit.rlim_cur;
}

int cx_daemonise(int *report) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    pid_t first = fork();
    if (first < 0) {
        int result = -errno;
        close(ends[0]);
        close(ends[1]);
        return result;
    }
    if (first > 0) {
        close(ends[1]);
        while (waitpid(first, NULL, 0) < 0 && errno == EINTR) {}
        return ends[0];
    }
    // A session of its own, and no leader of it: no terminal and no signal to the platform's group reaches the daemon.
    if (setsid() < 0) _exit(1);
    pid_t second = fork();
    if (second != 0) _exit(second < 0);
    close(ends[0]);
    *report = ends[1];
    return 0;
}

// Reads the parent and the innermost process id of a process. 0 when it is there.
static int read_status(int process, int *parent, int *innermost) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", process);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    ssize_t count = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    if (count <= 0) return -ESRCH;
    text[count] = 0;
    const char *line = strstr(text, "\nPPid:");
    if (line == NULL) return -EPROTO;
    *parent = atoi(line + 6);
    line = strstr(text, "\nNSpid:");
    if (line == NULL) return -EPROTO;
    line += 7;
    *innermost = 0;
    while (*line == '\t' || *line == ' ') {
        *innermost = atoi(line + 1);
        line++;
        while (*line >= '0' && *line <= '9') line++;
    }
    return 0;
}

int cx_main_process(int init) {
    int parent, innermost;
    if (init <= 0) return 0;
    // Not /proc/PID/task/PID/children: not every kernel has it.
    DIR *folder = opendir("/proc");
    if (folder == NULL) return -errno;
    int found = 0;
    struct dirent *entry;
    while (found == 0 && (entry = readdir(folder)) != NULL) {
        int process = atoi(entry->d_name);
        if (process <= 0 || read_status(process, &parent, &innermost) < 0) continue;
        if (parent == init && innermost == 2) found = process;
    }
    closedir(folder);
    return found;
}

int cx_signal_main(int init, int number) {
    int parent, innermost;
    int process = cx_main_process(init);
    if (process <= 0) return process < 0 ? process : -ESRCH;
    int descriptor = cx_process_descriptor(process);
    if (descriptor < 0) return descriptor;
    int result = -ESRCH;
    // Looked at again through the descriptor's process: the number may have been given to another one in between.
    if (read_status(process, &parent, &innermost) == 0 && parent == init && innermost == 2)
        result = cx_signal_process(descriptor, number);
    close(descriptor);
    return result;
}

int cx_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -errno : 0; }

int cx_memory_file(const void *bytes, size_t count) {
    int descriptor = memfd_create("plan", MFD_CLOEXEC);
    if (descriptor < 0) return -errno;
    size_t written = 0;
    while (written < count) {
        ssize_t result = pwrite(descriptor, (const char *)bytes + written, count - written, (off_t)written);
        if (result <= 0) {
            int error = result < 0 ? -errno : -EIO;
            close(descriptor);
            return error;
        }
        written += (size_t)result;
    }
    return descriptor;
}

int cx_pipe(int *reading, int *writing) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *reading = ends[0];
    *writing = ends[1];
    return 0;
}
