// Functions for the store that Swift cannot call: file calls of Linux that its C library module omits (errors are in
// errno, as usual), and a function of SQLite with a variable number of arguments.
#ifndef CORTEX_STORE_SQLITE_H
#define CORTEX_STORE_SQLITE_H

#include <stddef.h>
#include <sys/types.h>

// The flag of open(2) for direct I/O.
extern const int store_open_direct;

// Makes writes to a descriptor that was opened with `store_open_direct` use the page cache.
int store_use_page_cache(int descriptor);

// Releases the blocks of a range; the range reads as zeros afterwards and the file keeps its size.
int store_punch_hole(int descriptor, off_t offset, off_t length);

// The offset of the next byte that is not in a hole; -1 with ENXIO if there is none.
off_t store_next_data(int descriptor, off_t offset);

// Reads from the page cache without waiting for the disk: fewer bytes, or -1 with EAGAIN, if not everything is there.
ssize_t store_read_cached(int descriptor, void *bytes, size_t length, off_t offset);

// Disables SQLite's memory statistics, which lock a mutex at each allocation. Must be called before the first database
// of the process is opened; later it changes nothing and returns SQLITE_MISUSE.
int store_leave_out_statistics(void);

#endif
