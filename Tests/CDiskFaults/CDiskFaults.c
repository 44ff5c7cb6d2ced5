#define _GNU_SOURCE
#include "CDiskFaults.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { watch_limit = 64, descriptor_limit = 1 << 16 };

struct watch {
    bool is_used;
    char folder[PATH_MAX];
    size_t length;
    disk_listener listener;
    void *context;
    int kinds;
    long first, count, calls;
    int error;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int watching;
static struct watch watches[watch_limit];
static struct {
    struct watch *watch;
    long file;
} descriptors[descriptor_limit];
static long files;

int disk_watch(const char *folder, disk_listener listener, void *context) {
    int found = -1;
    pthread_mutex_lock(&lock);
    for (int index = 0; index < watch_limit && found < 0; index++) {
        struct watch *watch = &watches[index];
        if (watch->is_used || strlen(folder) >= PATH_MAX) continue;
        *watch = (struct watch){.is_used = true, .length = strlen(folder), .listener = listener, .context = context};
        strcpy(watch->folder, folder);
        found = index;
        watching++;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void disk_unwatch(int index) {
    pthread_mutex_lock(&lock);
    for (int descriptor = 0; descriptor < descriptor_limit; descriptor++) {
        if (descriptors[descriptor].watch == &watches[index]) descriptors[descriptor].watch = NULL;
    }
    watches[index].is_used = false;
    watching--;
    pthread_mutex_unlock(&lock);
}

void disk_fail(int index, int kinds, long first, long count, int error) {
    pthread_mutex_lock(&lock);
    struct watch *watch = &watches[index];
    watch->kinds = kinds;
    watch->first = first;
    watch->count = count;
    watch->calls = 0;
    watch->error = error;
    pthread_mutex_unlock(&lock);
}

long disk_calls(int index) {
    pthread_mutex_lock(&lock);
    long calls = watches[index].calls;
    pthread_mutex_unlock(&lock);
    return calls;
}

// The functions below hold the lock from `watch_of_…` to `leave`, when there is a watch.

static struct watch *watch_of_path(const char *path) {
    if (watching == 0 || path == NULL) return NULL;
    pthread_mutex_lock(&lock);
    for (int index = 0; index < watch_limit; index++) {
        struct watch *watch = &watches[index];
        if (watch->is_used && strncmp(path, watch->folder, watch->length) == 0
            && (path[watch->length] == '/' || path[watch->length] == 0))
            return watch;
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static struct watch *watch_of_descriptor(int descriptor) {
    if (watching == 0 || descriptor < 0 || descriptor >= descriptor_limit) return NULL;
    pthread_mutex_lock(&lock);
    if (descriptors[descriptor].watch != NULL) return descriptors[descriptor].watch;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static long leave(long result) {
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

// Counts a call; whether it is to fail.
static bool fails(struct watch *watch, int kind) {
    if ((watch->kinds & kind) == 0) return false;
    watch->calls++;
    return watch->calls >= watch->first && watch->calls - watch->first < watch->count;
}

// Tells of a call by its result and `errno`, and leaves.
static long tell(struct watch *watch, struct disk_event event, long result) {
    int error = errno;
    if (result < 0) event.error = error;
    if (watch->listener != NULL) watch->listener(watch->context, &event);
    errno = error;
    return leave(result);
}

static long refuse(struct watch *watch, struct disk_event event) {
    errno = watch->error;
    return tell(watch, event, -1);
}

static int open_at(int folder, const char *path, int flags, mode_t mode) {
    struct watch *watch = watch_of_path(path);
    if (watch == NULL) {
        int descriptor = (int)syscall(SYS_openat, folder, path, flags, mode);
        // The number may be that of a watched file which the C library closed by itself.
        if (watch_of_descriptor(descriptor) != NULL) {
            descriptors[descriptor].watch = NULL;
            leave(0);
        }
        return descriptor;
    }
    struct stat status;
    bool creates = (flags & O_CREAT) != 0 && fstatat(folder, path, &status, 0) != 0;
    struct disk_event event = {.kind = creates ? disk_create : disk_open, .path = path, .file = ++files};
    // To open something for reading is part of reading.
    bool reads = !creates && (flags & O_ACCMODE) == O_RDONLY;
    if (fails(watch, reads ? disk_read : event.kind)) return (int)refuse(watch, event);
    int descriptor = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (descriptor >= descriptor_limit) abort();
    if (descriptor >= 0) {
        descriptors[descriptor].watch = watch;
        descriptors[descriptor].file = event.file;
        if ((flags & O_TRUNC) != 0 && !creates && watch->listener != NULL) {
            watch->listener(watch->context, &event);
            event = (struct disk_event){.kind = disk_truncate, .file = event.file};
        }
    }
    return (int)tell(watch, event, descriptor);
}

#define MODE_OF(flags)                                                                                                 \
    mode_t mode = 0;                                                                                                   \
    if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) {                                              \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode = va_arg(list, mode_t);                                                                                   \
        va_end(list);                                                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_at(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_at(folder, path, flags, mode);
}

int close(int descriptor) {
    struct watch *watch = watch_of_descriptor(descriptor);
    if (watch == NULL) return (int)syscall(SYS_close, descriptor);
    descriptors[descriptor].watch = NULL;
    return (int)leave(syscall(SYS_close, descriptor));
}

// `offset` < 0 means where the descriptor stands.
static ssize_t write_at(int descriptor, const void *bytes, size_t length, off_t offset) {
    struct watch *watch = watch_of_descriptor(descriptor);
    bool is_placed = offset >= 0;
    if (watch == NULL) {
        return is_placed ? syscall(SYS_pwrite64, descriptor, bytes, length, offset)
                         : syscall(SYS_write, descriptor, bytes, length);
    }
    if (!is_placed) offset = lseek(descriptor, 0, SEEK_CUR);
    bool is_failing = fails(watch, disk_write);
    size_t part = is_failing ? length / 2 : length;
    ssize_t count = is_placed ? syscall(SYS_pwrite64, descriptor, bytes, part, offset)
                              : syscall(SYS_write, descriptor, bytes, part);
    struct disk_event event = {
        .kind = disk_write, .file = descriptors[descriptor].file, .offset = offset, .bytes = bytes,
        .length = count < 0 ? 0 : (size_t)count};
    if (!is_failing) return tell(watch, event, count);
    if (count > 0 && watch->listener != NULL) watch->listener(watch->context, &event);
    event.length = 0;
    return refuse(watch, event);
}

ssize_t write(int descriptor, const void *bytes, size_t length) { return write_at(descriptor, bytes, length, -1); }

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset) {
    return write_at(descriptor, bytes, length, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset) {
    return write_at(descriptor, bytes, length, offset);
}

static ssize_t read_at(int descriptor, void *bytes, size_t length, off_t offset) {
    struct watch *watch = watch_of_descriptor(descriptor);
    if (watch != NULL) {
        if (fails(watch, disk_read))
            return refuse(watch, (struct disk_event){.kind = disk_read, .file = descriptors[descriptor].file});
        pthread_mutex_unlock(&lock);
    }
    return offset < 0 ? syscall(SYS_read, descriptor, bytes, length)
                      : syscall(SYS_pread64, descriptor, bytes, length, offset);
}

ssize_t read(int descriptor, void *bytes, size_t length) { return read_at(descriptor, bytes, length, -1); }

ssize_t pread(int descriptor, void *bytes, size_t length, off_t offset) {
    return read_at(descriptor, bytes, length, offset);
}

ssize_t pread64(int descriptor, void *bytes, size_t length, off64_t offset) {
    return read_at(descriptor, bytes, length, offset);
}

ssize_t preadv2(int descriptor, const struct iovec *pieces, int count, off_t offset, int flags) {
    struct watch *watch = watch_of_descriptor(descriptor);
    if (watch != NULL) {
        if (fails(watch, disk_read))
            return refuse(watch, (struct disk_event){.kind = disk_read, .file = descriptors[descriptor].file});
        pthread_mutex_unlock(&lock);
    }
    return syscall(SYS_preadv2, descriptor, pieces, count, offset, 0, flags);
}

static int sync_file(int descriptor, long call) {
    struct watch *watch = watch_of_descriptor(descriptor);
    if (watch == NULL) return (int)syscall(call, descriptor);
    struct disk_event event = {.kind = disk_sync, .file = descriptors[descriptor].file};
    return (int)(fails(watch, disk_sync) ? refuse(watch, event) : tell(watch, event, 0));
}

int fsync(int descriptor) { return sync_file(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return sync_file(descriptor, SYS_fdatasync); }

static int truncate_file(int descriptor, off_t length) {
    struct watch *watch = watch_of_descriptor(descriptor);
    if (watch == NULL) return (int)syscall(SYS_ftruncate, descriptor, length);
    struct disk_event event = {.kind = disk_truncate, .file = descriptors[descriptor].file, .offset = length};
    if (fails(watch, disk_truncate)) return (int)refuse(watch, event);
    return (int)tell(watch, event, syscall(SYS_ftruncate, descriptor, length));
}

int ftruncate(int descriptor, off_t length) { return truncate_file(descriptor, length); }
int ftruncate64(int descriptor, off64_t length) { return truncate_file(descriptor, length); }

// Holes are the only use that is known here.
int fallocate(int descriptor, int mode, off_t offset, off_t length) {
    if ((mode & FALLOC_FL_PUNCH_HOLE) == 0) abort();
    struct watch *watch = watch_of_descriptor(descriptor);
    if (watch == NULL) return (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
    struct disk_event event = {
        .kind = disk_erase, .file = descriptors[descriptor].file, .offset = offset, .length = (size_t)length};
    if (fails(watch, disk_erase)) return (int)refuse(watch, event);
    return (int)tell(watch, event, syscall(SYS_fallocate, descriptor, mode, offset, length));
}

int rename(const char *path, const char *target) {
    struct watch *watch = watch_of_path(path);
    if (watch == NULL) return (int)syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, target, 0);
    struct disk_event event = {.kind = disk_rename, .path = path, .target = target};
    if (fails(watch, disk_rename)) return (int)refuse(watch, event);
    return (int)tell(watch, event, syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, target, 0));
}

int unlink(const char *path) {
    struct watch *watch = watch_of_path(path);
    if (watch == NULL) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    struct disk_event event = {.kind = disk_unlink, .path = path};
    if (fails(watch, disk_unlink)) return (int)refuse(watch, event);
    return (int)tell(watch, event, syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int mkdir(const char *path, mode_t mode) {
    struct watch *watch = watch_of_path(path);
    if (watch == NULL) return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    struct disk_event event = {.kind = disk_mkdir, .path = path};
    if (fails(watch, disk_mkdir)) return (int)refuse(watch, event);
    return (int)tell(watch, event, syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}
