#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int cx_process_descriptor(int process) {
    int descriptor = (int)syscall(SYS_pidfd_open, process, 0);
    return descriptor < 0 ? -errno : descriptor;
}

int cx_signal_process(int descriptor, int number) {
    return syscall(SYS_pidfd_send_signal, descriptor, number, NULL, 0) < 0 ? -errno : 0;
}

int cx_kill_in_group(int process, const char *group) {
    char path[64], text[8192];
    int descriptor = cx_process_descriptor(process);
    if (descriptor < 0) return descriptor;
    // Read after the descriptor was opened: if the process is of the group now, it is the one that the descriptor
    // means.
    snprintf(path, sizeof path, "/proc/%d/cgroup", process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int result = file < 0 ? -errno : 0;
    if (result == 0) {
        ssize_t count = read(file, text, sizeof text - 1);
        close(file);
        text[count > 0 ? count : 0] = 0;
        result = strstr(text, group) == NULL ? -ESRCH : cx_signal_process(descriptor, SIGKILL);
    }
    close(descriptor);
    return result;
}
