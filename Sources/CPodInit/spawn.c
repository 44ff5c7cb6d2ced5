#define _GNU_SOURCE
#include "CPodInit.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// Ends a child that did not get as far as its program, and says why.
static void give_up(int report, const char *what, const char *name) {
    char text[512];
    int count = snprintf(text, sizeof text, "%s%s%.300s: %s", what, name[0] ? " " : "", name, strerror(errno));
    if (count > 0) (void)!write(report, text, (size_t)count < sizeof text ? (size_t)count : sizeof text - 1);
    _exit(127);
}

static void replace(const struct cx_child *child) {
    if (child->folder != NULL && chdir(child->folder) < 0) give_up(child->report, "cannot enter", child->folder);
    environ = (char **)child->environment;
    execvp(child->program, child->arguments);
    give_up(child->report, "cannot run", child->program);
}

int cx_become(const struct cx_child *child) {
    fcntl(child->report, F_SETFD, FD_CLOEXEC);
    replace(child);
    return -errno;
}

static void set_up(const struct cx_child *child, pid_t parent) {
    sigset_t none;
    struct rlimit limit;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) give_up(child->report, "cannot follow the pod", "");
    // In another process namespace the parent cannot be seen; then 0 is right.
    if (parent != 0 && getppid() != parent) _exit(127);
    setsid();
    for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    for (char *const *file = child->cgroups; *file != NULL; file++) {
        int descriptor = open(*file, O_WRONLY | O_CLOEXEC);
        if (descriptor < 0 || write(descriptor, "0", 1) < 0) give_up(child->report, "cannot join the control group", "");
        close(descriptor);
    }
    // When memory is short on the machine, containers go before the platform.
    int descriptor = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)!write(descriptor, "500", 3);
        close(descriptor);
    }
    limit.rlim_cur = limit.rlim_max = 0;
    setrlimit(RLIMIT_CORE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && child->files > 0) {
        limit.rlim_cur = (rlim_t)child->files < limit.rlim_max ? (rlim_t)child->files : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void connect_descriptors(const struct cx_child *child) {
    int empty = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (empty < 0) give_up(child->report, "cannot open", "/dev/null");
    if (dup2(empty, 0) < 0 || dup2(child->output, 1) < 0 || dup2(child->output, 2) < 0)
        give_up(child->report, "cannot connect", "its output");
    if (child->keeps_report) fcntl(child->report, F_SETFD, 0);
    if (child->kept >= 0) fcntl(child->kept, F_SETFD, 0);
}

int cx_spawn(const struct cx_child *child) {
    pid_t parent = getpid();
    pid_t process = fork();
    if (process < 0) return -errno;
    if (process > 0) return process;
    set_up(child, parent);
    connect_descriptors(child);
    replace(child);
    return 0;
}

// Gives up every capability for good.
static int drop_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    for (int capability = 0; capability < 64; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL) return -errno;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0) return -errno;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int open_namespace(int process, const char *kind) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", process, kind);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

// Runs in a short-lived helper: goes into the process namespace, which holds for children only, and starts the child there as a
// child of the pod's own process (CLONE_PARENT), which cannot go there itself: it could not come back.
static void start_inside(const struct cx_child *child, const int *namespaces, int told) {
    static const char *const kinds[] = {"ipc", "uts", "mnt", "user"};
    static const int flags[] = {CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWNS, CLONE_NEWUSER};
    int process = setns(namespaces[4], CLONE_NEWPID) < 0 ? -errno : 0;
    if (process == 0) {
        process = (int)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (process == 0) {
            set_up(child, 0);
            connect_descriptors(child);
            // The user namespace last: entering it gives up the power over the others.
            for (int index = 0; index < 4; index++)
                if (setns(namespaces[index], flags[index]) < 0) give_up(child->report, "cannot enter the container's", kinds[index]);
            if (drop_capabilities() < 0) give_up(child->report, "cannot drop capabilities", "");
            replace(child);
        }
        if (process < 0) process = -errno;
    }
    (void)!write(told, &process, sizeof process);
    _exit(0);
}

int cx_spawn_inside(const struct cx_child *child, int target) {
    static const char *const kinds[] = {"ipc", "uts", "mnt", "user", "pid"};
    int namespaces[5], told[2], result = 0;
    if (pipe2(told, O_CLOEXEC) < 0) return -errno;
    for (int index = 0; index < 5; index++) {
        namespaces[index] = result < 0 ? -1 : open_namespace(target, kinds[index]);
        if (namespaces[index] < 0 && result == 0) result = namespaces[index];
    }
    pid_t helper = -1;
    if (result == 0) {
        helper = fork();
        if (helper == 0) start_inside(child, namespaces, told[1]);
        if (helper < 0) result = -errno;
    }
    close(told[1]);
    if (helper > 0) {
        ssize_t count;
        do {
            count = read(told[0], &result, sizeof result);
        } while (count < 0 && errno == EINTR);
        if (count != (ssize_t)sizeof result) result = -ECHILD;
        while (waitpid(helper, NULL, 0) < 0 && errno == EINTR) {}
    }
    close(told[0]);
    for (int index = 0; index < 5; index++)
        if (namespaces[index] >= 0) close(namespaces[index]);
    return result;
}
