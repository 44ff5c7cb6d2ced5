// Settings of SQLite whose functions take a variable number of arguments, which Swift cannot call.
#ifndef C_SQLITE_SETTINGS_H
#define C_SQLITE_SETTINGS_H

struct sqlite3;

// Leaves out the statistics of memory, which lock a mutex at each allocation. Before the first database of the process is opened;
// later it changes nothing and returns SQLITE_MISUSE.
int cortex_sqlite_leave_out_statistics(void);

// Sets memory apart for a connection's small and short-lived allocations: `count` pieces of `size` bytes. Where some of its memory is in use
// already it changes nothing and returns SQLITE_BUSY.
int cortex_sqlite_set_apart(struct sqlite3 *connection, int size, int count);

#endif
