#include "CStoreSQLite.h"

#include <sqlite3.h>

int store_leave_out_statistics(void) { return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }
