#define _GNU_SOURCE
#include "CLinux.h"
#include "CPodInit.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The present mount interface of Linux, which not every libc declares and not every header can be included beside
// <sys/mount.h>. The numbers are the same on x86-64 and arm64.
enum { call_open_tree = 428, call_move_mount = 429, call_mount_setattr = 442 };
enum { tree_clone = 1, tree_close_on_exec = O_CLOEXEC, move_from_descriptor = 4, recursive = 0x8000 };
enum { attribute_no_setuid = 2, attribute_no_devices = 4, attribute_owners = 0x100000 };
struct mount_attributes {
    uint64_t set, clear, propagation, user_namespace;
};

// Binds what `source` is open on, whatever its path leads to by now.
static int attach(int source, const char *target, int owners) {
    if (owners >= 0) {
        int tree = (int)syscall(
            call_open_tree, source, "", tree_clone | tree_close_on_exec | recursive | AT_EMPTY_PATH);
        if (tree >= 0) {
            struct mount_attributes attributes = {
                .set = attribute_owners | attribute_no_setuid | attribute_no_devices, .user_namespace = (uint64_t)owners};
            int result = (int)syscall(
                call_mount_setattr, tree, "", recursive | AT_EMPTY_PATH, &attributes, sizeof attributes);
            if (result == 0) result = (int)syscall(call_move_mount, tree, "", AT_FDCWD, target, move_from_descriptor);
            close(tree);
            if (result == 0) return 0;
        }
        // The file system or the kernel (before 5.12) has no mounts with owners of their own: files are seen as they
        // are.
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", source);
    return mount(path, target, NULL, MS_BIND | MS_REC, NULL) < 0 ? -errno : 0;
}

int cx_stage(const struct cx_mount *mounts, size_t count, int owners, const char **failed) {
    int result = 0;
    *failed = "";
    if (count == 0) return 0;
    // Opened in the new namespace, because only its own mounts can be bound in it, and before its /sys is covered.
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) return -errno;
    int *sources = calloc(count, sizeof *sources);
    if (sources == NULL) return -ENOMEM;
    for (size_t index = 0; index < count && result == 0; index++) {
        const char *path = mounts[index].source;
        sources[index] = mounts[index].is_volume ? cx_open_without_links(path) : open(path, O_PATH | O_CLOEXEC);
        if (sources[index] == -1) sources[index] = -errno;
        if (sources[index] < 0) {
            *failed = path;
            result = sources[index];
        }
    }
    if (result == 0 && mount("tmpfs", CX_STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4m") < 0)
        result = -errno;
    for (size_t index = 0; index < count && result == 0; index++) {
        char target[64];
        struct stat found;
        snprintf(target, sizeof target, CX_STAGE "/%zu", index);
        if (fstat(sources[index], &found) < 0) result = -errno;
        else if (S_ISDIR(found.st_mode)) result = mkdir(target, 0755) < 0 ? -errno : 0;
        else result = mknod(target, S_IFREG | 0644, 0) < 0 ? -errno : 0;
        if (result == 0) result = attach(sources[index], target, mounts[index].is_volume ? owners : -1);
        if (result < 0) *failed = mounts[index].source;
    }
    for (size_t index = 0; index < count; index++)
        if (sources[index] > 0) close(sources[index]);
    free(sources);
    return result;
}

static int write_map(int process, const char *name, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", process, name);
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    ssize_t count = write(descriptor, text, strlen(text));
    int result = count < 0 ? -errno : 0;
    close(descriptor);
    return result;
}

int cx_drop_groups(void) { return setgroups(0, NULL) < 0 ? -errno : 0; }

int cx_user_namespace(const char *map) {
    int ready[2];
    char path[64];
    if (pipe2(ready, O_CLOEXEC) < 0) return -errno;
    pid_t process = fork();
    if (process < 0) {
        int result = -errno;
        close(ready[0]);
        close(ready[1]);
        return result;
    }
    if (process == 0) {
        int result = unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
        (void)!write(ready[1], &result, sizeof result);
        // Until the parent has taken what it needs of this process and kills it, or is gone itself.
        close(ready[1]);
        for (;;) pause();
    }
    close(ready[1]);
    int result = -ECHILD;
    ssize_t count;
    do {
        count = read(ready[0], &result, sizeof result);
    } while (count < 0 && errno == EINTR);
    if (count == (ssize_t)sizeof result && result == 0) {
        result = write_map(process, "setgroups", "deny");
        if (result == 0) result = write_map(process, "uid_map", map);
        if (result == 0) result = write_map(process, "gid_map", map);
        snprintf(path, sizeof path, "/proc/%d/ns/user", process);
        if (result == 0 && (result = open(path, O_RDONLY | O_CLOEXEC)) < 0) result = -errno;
    }
    close(ready[0]);
    kill(process, SIGKILL);
    while (waitpid(process, NULL, 0) < 0 && errno == EINTR) {}
    return result;
}
