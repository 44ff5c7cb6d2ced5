#include "CSQLiteSettings.h"

#include <sqlite3.h>

int cortex_sqlite_leave_out_statistics(void) { return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }
