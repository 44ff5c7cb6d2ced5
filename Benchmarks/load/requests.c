// requests HOST:PORT PATH CONNECTIONS SECONDS: each connection sends its next GET when the previous one was answered
// with 200; prints the rate and the latencies.
#include "load.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  const char *path;
  double *times;
  long count, room;
} Requests;

static void answered(Loop *loop, Connection *connection, int status, char *body, size_t size) {
  Requests *requests = loop->context;
  (void)size;
  if (status != 200) fail("status %d: %.300s", status, body);
  if (requests->count == requests->room) {
    requests->room = requests->room ? requests->room * 2 : 65536;
    requests->times = realloc(requests->times, (size_t)requests->room * sizeof(double));
  }
  requests->times[requests->count++] = now() - connection->sent_at;
  send_get(connection, requests->path, "", 0);
}

int measure_requests(int argc, char **argv) {
  if (argc != 4) fail("requests HOST:PORT PATH CONNECTIONS SECONDS");
  Requests requests = {.path = argv[1]};
  Loop loop;
  loop_open(&loop, argv[0], atoi(argv[2]), answered, &requests);
  for (int i = 0; i < loop.count; i++) send_get(&loop.connections[i], requests.path, "", 0);
  double began = now();
  loop_run(&loop, began + atof(argv[3]));
  double seconds = now() - began;
  loop_close(&loop);
  if (requests.count == 0) fail("no answer in %s s", argv[3]);
  sort_numbers(requests.times, requests.count);
  printf("{\"count\": %ld, \"per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", requests.count,
         (double)requests.count / seconds, 1e6 * percentile(requests.times, requests.count, 0.5),
         1e6 * percentile(requests.times, requests.count, 0.99));
  return 0;
}
