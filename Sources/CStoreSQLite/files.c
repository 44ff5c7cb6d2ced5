#define _GNU_SOURCE
#include "CStoreSQLite.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

const int store_open_direct = O_DIRECT;

int store_use_page_cache(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? -1 : fcntl(descriptor, F_SETFL, flags & ~O_DIRECT);
}

int store_punch_hole(int descriptor, off_t offset, off_t length) {
    return fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

off_t store_next_data(int descriptor, off_t offset) { return lseek(descriptor, offset, SEEK_DATA); }

ssize_t store_read_cached(int descriptor, void *bytes, size_t length, off_t offset) {
    struct iovec place = {.iov_base = bytes, .iov_len = length};
    return preadv2(descriptor, &place, 1, offset, RWF_NOWAIT);
}
