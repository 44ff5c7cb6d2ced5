// A setting of SQLite whose function takes a variable number of arguments, which Swift cannot call.
#ifndef C_SQLITE_SETTINGS_H
#define C_SQLITE_SETTINGS_H

// Leaves out the statistics of memory, which lock a mutex at each allocation. Before the first database of the process is opened;
// later it changes nothing and returns SQLITE_MISUSE.
int cortex_sqlite_leave_out_statistics(void);

#endif
