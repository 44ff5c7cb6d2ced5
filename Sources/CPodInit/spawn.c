#define _GNU_SOURCE
#include "CPodInit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// Ends a child that did not get as far as its program, and reports why.
static void end_with(int report, const char *what, const char *name, const char *reason) {
    char text[1024];
    int count = snprintf(text, sizeof text, "%s%s%.300s: %s", what, name[0] ? " " : "", name, reason);
    if (count > 0) (void)!write(report, text, (size_t)count < sizeof text ? (size_t)count : sizeof text - 1);
    _exit(127);
}

static void give_up(int report, const char *what, const char *name) { end_with(report, what, name, strerror(errno)); }

// Nothing that the program inherits of the system call filter can be undone: it comes last.
static int install_filter(const void *filter, size_t size) {
    struct sock_fprog program = {
        .len = (unsigned short)(size / sizeof(struct sock_filter)), .filter = (struct sock_filter *)filter};
    if (size == 0) return 0;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -1 : 0;
}

static void replace(const struct cx_child *child) {
    char reason[512], path[4096];
    if (child->folder != NULL && chdir(child->folder) < 0) give_up(child->report, "cannot enter", child->folder);
    environ = (char **)child->environment;
    if (install_filter(child->filter, child->filter_size) < 0)
        give_up(child->report, "cannot install the system call filter", "");
    // `execvp` would give a binary for another processor to the shell, as it does with a script without a first line.
    int isBinary = cx_locate_binary(child->program, path, sizeof path);
    if (isBinary) execve(path, child->arguments, environ);
    if (!isBinary || errno != ENOEXEC) execvp(child->program, child->arguments);
    cx_explain(child->program, errno, reason, sizeof reason);
    end_with(child->report, "cannot run", child->program, reason);
}

int cx_become(const struct cx_child *child) {
    fcntl(child->report, F_SETFD, FD_CLOEXEC);
    replace(child);
    return -errno;
}

int cx_new_keyring(void) { return syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0) < 0 ? -errno : 0; }

// Limits processes by the container's own user namespace. Before Linux 5.14 the limit counts all processes of the user
// on the machine, so it is set only for a user id that is the pod's alone.
static void limit_processes(const struct cx_child *child) {
    struct rlimit limit;
    struct utsname system;
    int major = 0, minor = 0;
    if (child->processes <= 0 || getrlimit(RLIMIT_NPROC, &limit) < 0) return;
    if (child->user_namespace < 0) {
        if (uname(&system) < 0 || sscanf(system.release, "%d.%d", &major, &minor) != 2) return;
        if (major < 5 || (major == 5 && minor < 14)) return;
    }
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > (rlim_t)child->processes)
        limit.rlim_max = (rlim_t)child->processes;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NPROC, &limit);
}

static void set_up(const struct cx_child *child) {
    sigset_t none;
    struct rlimit limit;
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
    limit_processes(child);
}

static void connect_descriptors(const struct cx_child *child) {
    int empty = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (empty < 0) give_up(child->report, "cannot open", "/dev/null");
    if (dup2(empty, 0) < 0 || dup2(child->output, 1) < 0 || dup2(child->output, 2) < 0)
        give_up(child->report, "cannot connect", "its output");
}

// Closes the descriptors from `first` to `last`.
static void close_between(unsigned first, unsigned last) {
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0) return;
    // Before Linux 5.9.
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) _exit(127);
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        int descriptor = atoi(entry->d_name);
        if (descriptor > 2 && (unsigned)descriptor >= first && (unsigned)descriptor <= last && descriptor != dirfd(folder))
            close(descriptor);
    }
    closedir(folder);
}

// Closes everything but the standard streams and at most 16 descriptors.
static void keep_only(const int *descriptors, int count) {
    int sorted[16];
    unsigned next = 3;
    for (int index = 0; index < count; index++) {
        int place = index;
        for (; place > 0 && sorted[place - 1] > descriptors[index]; place--) sorted[place] = sorted[place - 1];
        sorted[place] = descriptors[index];
    }
    for (int index = 0; index < count; index++) {
        if (sorted[index] < 3 || (unsigned)sorted[index] < next) continue;
        if ((unsigned)sorted[index] > next) close_between(next, (unsigned)sorted[index] - 1);
        next = (unsigned)sorted[index] + 1;
    }
    close_between(next, ~0U);
}

static void follow_parent(const struct cx_child *child, pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) give_up(child->report, "cannot follow the pod", "");
    if (getppid() != parent) _exit(127);
}

int cx_spawn(const struct cx_child *child) {
    pid_t parent = getpid();
    pid_t process = fork();
    if (process < 0) return -errno;
    if (process > 0) return process;
    const char *failed;
    int kept[16] = {child->report}, count = 1;
    follow_parent(child, parent);
    setsid();
    set_up(child);
    connect_descriptors(child);
    int staged = cx_stage(child->mounts, child->mount_count, child->volume_owners, &failed);
    if (staged == -ELOOP)
        end_with(child->report, "cannot mount", failed, "a part of this path is a symbolic link; deploy the API again");
    if (staged < 0) end_with(child->report, "cannot mount", failed, strerror(-staged));
    if (child->user_namespace >= 0) {
        if (setns(child->user_namespace, CLONE_NEWUSER) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
            give_up(child->report, "cannot take the pod's user id", "");
        // Forgotten by the kernel with the change of the user.
        follow_parent(child, parent);
    }
    // One that cannot be made (quota, no keys in this kernel) leaves the pod's own, which is empty.
    (void)cx_new_keyring();
    for (const int *descriptor = child->kept; *descriptor >= 0 && count < 16; descriptor++) kept[count++] = *descriptor;
    keep_only(kept, count);
    for (int index = 1; index < count; index++) fcntl(kept[index], F_SETFD, 0);
    if (child->keeps_report) fcntl(child->report, F_SETFD, 0);
    replace(child);
    return 0;
}

// Gives up every capability permanently, and takes the container's user.
static int drop_privileges(unsigned user) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    for (int capability = 0; capability < 64; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL) return -1;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
    if (geteuid() != user || getegid() != user) {
        // The change of the user may make the process traceable again (fs.suid_dumpable). Until that is undone it keeps
        // its capabilities, and a process that has more of them than the tracer cannot be traced either.
        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresgid(user, user, user) < 0 || setresuid(user, user, user) < 0
            || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
            return -1;
        prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    }
    (void)cx_new_keyring();
    if (syscall(SYS_capset, &header, none) < 0) return -1;
    // Also after the change of the user, which makes the kernel forget it.
    return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int cx_become_user(unsigned int user, unsigned int group) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    for (int capability = 0; capability < 64; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL && errno != EPERM) return -errno;
    if (setgroups(0, NULL) < 0 && errno != EPERM) return -errno;
    if (setresgid(group, group, group) < 0 || setresuid(user, user, user) < 0) return -errno;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0) return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    return prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
}

static int open_namespace(int process, const char *kind) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", process, kind);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

// Runs in a short-lived helper: goes into the process namespace, which holds for children only, and starts the child
// there as a child of the pod's own process (CLONE_PARENT), which cannot go there itself: it could not come back.
//
// From its first moment the child is visible to the container. By then it holds the standard streams, its report, and
// the namespaces that it closes one by one as it enters them; it cannot be traced (PR_SET_DUMPABLE) until it runs the
// command.
static void start_inside(const struct cx_child *child, const int *namespaces, int answer) {
    static const char *const kinds[] = {"ipc", "uts", "mnt", "user"};
    static const int flags[] = {CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWNS, CLONE_NEWUSER};
    const int kept[] = {child->report, answer, namespaces[0], namespaces[1], namespaces[2], namespaces[3], namespaces[4]};
    set_up(child);
    connect_descriptors(child);
    keep_only(kept, sizeof kept / sizeof kept[0]);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) give_up(child->report, "cannot refuse to be traced", "");
    int process = setns(namespaces[4], CLONE_NEWPID) < 0 ? -errno : 0;
    close(namespaces[4]);
    if (process == 0) {
        process = (int)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (process == 0) {
            close(answer);
            setsid();
            // The user namespace last: entering it gives up the power over the others.
            for (int index = 0; index < 4; index++) {
                if (setns(namespaces[index], flags[index]) < 0)
                    give_up(child->report, "cannot enter the container's", kinds[index]);
                close(namespaces[index]);
            }
            if (drop_privileges(child->user) < 0) give_up(child->report, "cannot drop capabilities", "");
            replace(child);
        }
        if (process < 0) process = -errno;
    }
    (void)!write(answer, &process, sizeof process);
    _exit(0);
}

int cx_spawn_inside(const struct cx_child *child, int target) {
    static const char *const kinds[] = {"ipc", "uts", "mnt", "user", "pid"};
    int namespaces[5], answer[2], result = 0;
    if (pipe2(answer, O_CLOEXEC) < 0) return -errno;
    for (int index = 0; index < 5; index++) {
        namespaces[index] = result < 0 ? -1 : open_namespace(target, kinds[index]);
        if (namespaces[index] < 0 && result == 0) result = namespaces[index];
    }
    pid_t helper = -1;
    if (result == 0) {
        helper = fork();
        if (helper == 0) start_inside(child, namespaces, answer[1]);
        if (helper < 0) result = -errno;
    }
    close(answer[1]);
    if (helper > 0) {
        ssize_t count;
        do {
            count = read(answer[0], &result, sizeof result);
        } while (count < 0 && errno == EINTR);
        if (count != (ssize_t)sizeof result) result = -ECHILD;
        while (waitpid(helper, NULL, 0) < 0 && errno == EINTR) {}
    }
    close(answer[0]);
    for (int index = 0; index < 5; index++)
        if (namespaces[index] >= 0) close(namespaces[index]);
    return result;
}
