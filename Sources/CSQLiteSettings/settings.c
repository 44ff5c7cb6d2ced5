#include "CSQLiteSettings.h"

#include <sqlite3.h>
#include <stddef.h>

int cortex_sqlite_leave_out_statistics(void) { return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

int cortex_sqlite_set_apart(struct sqlite3 *connection, int size, int count) {
  return sqlite3_db_config(connection, SQLITE_DBCONFIG_LOOKASIDE, NULL, size, count);
}
