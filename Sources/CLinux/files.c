#define _GNU_SOURCE
#include "CLinux.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

// The number of openat2, which not every libc declares; the same on x86-64 and arm64.
enum { call_openat2 = 437 };

// Opens each component by itself: what openat2 does in one step, for kernels (before 5.6) and filters that do not know
// it.
static int walk(const char *path) {
    int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (folder >= 0) {
        char name[256];
        struct stat found;
        while (*path == '/') path++;
        size_t length = strcspn(path, "/");
        if (length == 0) return folder;
        if (length >= sizeof name) {
            close(folder);
            return -ENAMETOOLONG;
        }
        memcpy(name, path, length);
        name[length] = 0;
        path += length;
        int next = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        int error = next < 0 ? -errno : 0;
        close(folder);
        if (next < 0) return error;
        if (fstat(next, &found) < 0 || S_ISLNK(found.st_mode)) {
            close(next);
            return -ELOOP;
        }
        folder = next;
    }
    return -errno;
}

int cx_open_without_links(const char *path) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    int descriptor = (int)syscall(call_openat2, AT_FDCWD, path, &how, sizeof how);
    if (descriptor >= 0) return descriptor;
    return errno == ENOSYS || errno == EPERM ? walk(path) : -errno;
}

// Opens each component by itself, for kernels and filters that do not know openat2.
static int walk_beneath(int folder, const char *path, int flags) {
    int current = -1;
    for (;;) {
        char name[256];
        while (*path == '/') path++;
        size_t length = strcspn(path, "/");
        if (length >= sizeof name) break;
        memcpy(name, path, length);
        name[length] = 0;
        path += length;
        while (*path == '/') path++;
        int is_last = *path == 0;
        int next = -1;
        if (length == 0 || strcmp(name, "..") == 0) {
            errno = EXDEV;
        } else {
            int how = (is_last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC;
            next = openat(current < 0 ? folder : current, name, how);
        }
        int error = next < 0 ? -errno : 0;
        if (current >= 0) close(current);
        if (next < 0) return error;
        if (is_last) return next;
        current = next;
    }
    if (current >= 0) close(current);
    return -ENAMETOOLONG;
}

int cx_open_beneath(int folder, const char *path, int flags) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = (unsigned)flags | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    int descriptor = (int)syscall(call_openat2, folder, path, &how, sizeof how);
    if (descriptor >= 0) return descriptor;
    return errno == ENOSYS || errno == EPERM ? walk_beneath(folder, path, flags) : -errno;
}

// Deeper folders are moved up and emptied there: a container may have made thousands of levels.
enum { deepest = 64 };

static int empty(int folder, int top, int depth, unsigned *moved) {
    int result = 0;
    DIR *entries = fdopendir(folder);
    if (entries == NULL) {
        result = -errno;
        close(folder);
        return result;
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(entries);
        if (entry == NULL) {
            if (errno != 0 && result == 0) result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(folder, entry->d_name, 0) == 0 || errno == ENOENT) continue;
        if (errno != EISDIR && errno != EPERM && errno != EACCES) {
            if (result == 0) result = -errno;
            continue;
        }
        struct stat found;
        if (fstatat(folder, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(found.st_mode)) {
            if (result == 0) result = -EPERM;
            continue;
        }
        fchmodat(folder, entry->d_name, 0700, 0);
        if (unlinkat(folder, entry->d_name, AT_REMOVEDIR) == 0) continue;
        if (depth >= deepest) {
            char name[64];
            snprintf(name, sizeof name, ".deep-%u", (*moved)++);
            if (renameat(folder, entry->d_name, top, name) < 0 && result == 0) result = -errno;
            continue;
        }
        int child = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int removed = child < 0 ? -errno : empty(child, top, depth + 1, moved);
        if (removed == 0 && unlinkat(folder, entry->d_name, AT_REMOVEDIR) < 0) removed = -errno;
        if (removed < 0 && result == 0) result = removed;
    }
    closedir(entries);
    return result;
}

int cx_remove_tree(const char *path) {
    for (unsigned moved = 0;;) {
        unsigned before = moved;
        chmod(path, 0700);
        int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (top < 0) return errno == ENOENT ? 0 : -errno;
        int folder = fcntl(top, F_DUPFD_CLOEXEC, 0);
        int result = folder < 0 ? -errno : empty(folder, top, 0, &moved);
        close(top);
        if (result == 0 && rmdir(path) == 0) return 0;
        if (result == 0 && errno == ENOENT) return 0;
        // Another round only for what was moved up in this one.
        if (moved == before) return result < 0 ? result : -errno;
    }
}

int cx_set_file_mark(int descriptor, const char *name, int64_t value) {
    char text[24];
    int length = snprintf(text, sizeof text, "%lld", (long long)value);
    return fsetxattr(descriptor, name, text, (size_t)length, 0) < 0 ? -errno : 0;
}

int64_t cx_file_mark(int descriptor, const char *name) {
    char text[24];
    ssize_t length = fgetxattr(descriptor, name, text, sizeof text - 1);
    if (length < 0) return -errno;
    if (length == 0) return -EINVAL;
    text[length] = 0;
    char *end = text;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return errno != 0 || *end != 0 || value < 0 ? -EINVAL : (int64_t)value;
}

// One open folder for each level; a deeper tree is not measured.
enum { measured_levels = 128 };

struct usage {
    int64_t bytes, limit, working_since, deadline;
    unsigned entries;
    int is_over;
    dev_t device;
};

static int64_t monotonic_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void rest(struct usage *usage) {
    if (cx_milliseconds() >= usage->deadline) usage->is_over = 1;
    int64_t worked = monotonic_microseconds() - usage->working_since;
    if (worked < 5000) return;
    int64_t pause = worked * 3;
    struct timespec wait = {.tv_sec = pause / 1000000, .tv_nsec = pause % 1000000 * 1000};
    nanosleep(&wait, NULL);
    usage->working_since = monotonic_microseconds();
}

static int measure(int folder, int depth, struct usage *usage) {
    DIR *entries = fdopendir(folder);
    if (entries == NULL) {
        int result = -errno;
        close(folder);
        return result;
    }
    int result = 0;
    while (result == 0 && usage->bytes <= usage->limit && !usage->is_over) {
        errno = 0;
        struct dirent *entry = readdir(entries);
        if (entry == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (++usage->entries % 64 == 0) rest(usage);
        struct stat found;
        // What goes away meanwhile takes nothing.
        if (fstatat(dirfd(entries), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) < 0 || found.st_dev != usage->device) continue;
        // A file with several names is counted in parts.
        int64_t links = S_ISDIR(found.st_mode) || found.st_nlink < 1 ? 1 : (int64_t)found.st_nlink;
        usage->bytes += (int64_t)found.st_blocks * 512 / links;
        if (!S_ISDIR(found.st_mode)) continue;
        if (depth >= measured_levels) {
            result = -ELOOP;
            break;
        }
        int child = openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child < 0) {
            if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) result = -errno;
            continue;
        }
        result = measure(child, depth + 1, usage);
    }
    closedir(entries);
    return result;
}

int64_t cx_tree_usage(const char *path, int64_t limit, int64_t deadline) {
    int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0) return errno == ENOENT ? 0 : -errno;
    struct stat found;
    if (fstat(top, &found) < 0) {
        int result = -errno;
        close(top);
        return result;
    }
    struct usage usage = {
        .limit = limit, .working_since = monotonic_microseconds(), .deadline = deadline, .device = found.st_dev};
    int result = measure(top, 0, &usage);
    return result < 0 ? result : usage.bytes;
}
