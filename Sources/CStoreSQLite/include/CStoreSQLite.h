// What the store calls that Swift cannot: file calls of Linux that its C library module leaves out (errors are in
// errno, as ever), and a function of SQLite that takes a variable number of arguments.
#ifndef CORTEX_STORE_SQLITE_H
#define CORTEX_STORE_SQLITE_H

#include <stddef.h>
#include <sys/types.h>

// The flag of open(2) for writes that pass the page cache by.
extern const int store_open_direct;

// Lets the page cache take what is written to a descriptor that was opened with `store_open_direct`.
int store_use_page_cache(int descriptor);

// Gives the blocks of a range back to the file system; the range reads as zeros afterwards and the file keeps its size.
int store_punch_hole(int descriptor, off_t offset, off_t length);

// Where the next byte stands that is no hole; -1 with ENXIO when there is none.
off_t store_next_data(int descriptor, off_t offset);

// Reads what is in the page cache, without ever waiting for the disk: fewer bytes, or -1 with EAGAIN, when it is not
// all there.
ssize_t store_read_cached(int descriptor, void *bytes, size_t length, off_t offset);

// Leaves out SQLite's statistics of memory, which lock a mutex at each allocation. Before the first database of the
// process is opened; later it changes nothing and returns SQLITE_MISUSE.
int store_leave_out_statistics(void);

#endif
