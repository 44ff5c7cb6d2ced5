// The load driver: one thread, one epoll, keep-alive connections with one request each.
#ifndef LOAD_H
#define LOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Connection Connection;
typedef struct Loop Loop;

/// An answer that has arrived; the body is only valid during the call and ends with a NUL.
typedef void (*Answered)(Loop *loop, Connection *connection, int status, char *body, size_t size);

struct Connection {
  Loop *loop;
  int fd;
  int number;
  char *in;
  size_t filled, room;
  const char *out;
  size_t left;
  double sent_at;
  /// The caller's number of the request.
  long tag;
  char head[512];
};

struct Loop {
  int epoll;
  char address[64];
  Connection *connections;
  int count;
  Answered answered;
  bool is_done;
  void *context;
};

/// A blocking connection to host:port; ends the program on failure.
int connect_to(const char *address);
/// Connects to host:port; ends the program on failure.
void loop_open(Loop *loop, const char *address, int connections, Answered answered, void *context);
/// Runs until `is_done` or `deadline` (as `now()`); returns `false` on timeout.
bool loop_run(Loop *loop, double deadline);
void loop_close(Loop *loop);

/// Sends bytes, which must stay valid until the answer has arrived.
void send_bytes(Connection *connection, const char *bytes, size_t size, long tag);
/// Sends `GET path?query`.
void send_get(Connection *connection, const char *path, const char *query, long tag);

/// A complete POST of `size` bytes of JSON, to be sent repeatedly.
char *make_post(const char *address, const char *path, size_t size, size_t *whole);
/// Allows this program `count` open connections; ends the program if the limit is lower.
void allow_connections(long count);
/// Copies the id out of `{"id":"..."`; ends the program if there is none.
void take_id(const char *body, char id[37]);

double now(void);
/// Seconds of processor time that the process has used.
double cpu_of(int pid);
double percentile(double *sorted, long count, double share);
void sort_numbers(double *numbers, long count);
_Noreturn void fail(const char *format, ...);

int measure_submit(int argc, char **argv);
int measure_complete(int argc, char **argv);
int measure_latency(int argc, char **argv);
int measure_waiters(int argc, char **argv);
int measure_stream(int argc, char **argv);
int measure_requests(int argc, char **argv);
int measure_transfer(int argc, char **argv);
int measure_hold(int argc, char **argv);
#endif
