// Intercepts file calls below watched folders: counts and reports them, and makes selected ones fail.
//
// The test program redefines these functions of the C library, so that every call of SQLite and of the store is seen.
// Calls for other folders go directly to the kernel. Tests only.
#ifndef CORTEX_DISK_FAULTS_H
#define CORTEX_DISK_FAULTS_H

#include <stddef.h>

// What a call does. A mask of these chooses the calls that are counted and may fail.
enum {
    disk_open = 1,       // of something that exists, for writing
    disk_create = 2,     // an open that makes a file
    disk_write = 4,
    disk_sync = 8,       // fsync and fdatasync
    disk_truncate = 16,
    disk_rename = 32,
    disk_unlink = 64,
    disk_mkdir = 128,
    disk_read = 256,     // also an open for reading
    disk_erase = 512,    // a hole made with fallocate
};

// A call that happened, or failed with `error`. `file` is a number that is new for each open. Pointers are valid during
// the callback.
struct disk_event {
    int kind;
    int error;
    long file;
    const char *path;    // open, create, rename, unlink, mkdir
    const char *target;  // rename
    long long offset;    // write, erase, truncate (the length)
    const void *bytes;   // write
    size_t length;       // write, erase
};

typedef void (*disk_listener)(void *context, const struct disk_event *event);

// Watches everything below `folder`, an absolute path. Syncs are reported but not performed: other readers see the
// page cache anyway. The listener is called with a lock held and must not touch files. Returns the watch, or -1 when
// there are too many.
int disk_watch(const char *folder, disk_listener listener, void *context);
void disk_unwatch(int watch);

// Counts the calls of these kinds from 1 on and lets those with the numbers first ..< first + count fail with `error`;
// half of a failing write is carried out.
void disk_fail(int watch, int kinds, long first, long count, int error);

// Calls counted since `disk_fail`.
long disk_calls(int watch);

#endif
