// submit HOST:PORT PATH SIZE CONNECTIONS SECONDS [COUNT]: accepted requests per second; each connection sends the next
// request when the previous one was answered.
#include "load.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  char *post;
  size_t size;
  double *times;
  long count, room, limit, refused, sent;
} Submit;

static void next(Submit *submit, Connection *connection) {
  if (submit->limit && submit->sent >= submit->limit) {
    connection->loop->is_done = submit->count + submit->refused == submit->sent;
    return;
  }
  submit->sent++;
  send_bytes(connection, submit->post, submit->size, 0);
}

static void answered(Loop *loop, Connection *connection, int status, char *body, size_t size) {
  Submit *submit = loop->context;
  (void)body, (void)size;
  if (status == 200) {
    if (submit->count == submit->room) {
      submit->room = submit->room ? submit->room * 2 : 65536;
      submit->times = realloc(submit->times, (size_t)submit->room * sizeof(double));
    }
    submit->times[submit->count++] = now() - connection->sent_at;
  } else {
    submit->refused++;
  }
  next(submit, connection);
}

int measure_submit(int argc, char **argv) {
  if (argc < 5) fail("submit HOST:PORT PATH SIZE CONNECTIONS SECONDS [COUNT]");
  Submit submit = {.limit = argc > 5 ? atol(argv[5]) : 0};
  submit.post = make_post(argv[0], argv[1], strtoul(argv[2], NULL, 10), &submit.size);
  Loop loop;
  loop_open(&loop, argv[0], atoi(argv[3]), answered, &submit);
  double began = now();
  for (int i = 0; i < loop.count; i++) next(&submit, &loop.connections[i]);
  loop_run(&loop, began + atof(argv[4]));
  double took = now() - began;
  sort_numbers(submit.times, submit.count);
  printf("{\"per_second\": %.1f, \"count\": %ld, \"refused\": %ld, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
         (double)submit.count / took, submit.count, submit.refused, 1000 * percentile(submit.times, submit.count, 0.5),
         1000 * percentile(submit.times, submit.count, 0.99));
  return 0;
}
