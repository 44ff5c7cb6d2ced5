// latency HOST:PORT PATH SIZE COUNT poll|wait: one request at a time, from the POST until its result is there, by a GET
// every millisecond or one long poll.
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
  char body[65536];
  int status;
} Answer;

static void answered(Loop *loop, Connection *connection, int status, char *body, size_t size) {
  (void)connection;
  Answer *answer = loop->context;
  answer->status = status;
  size_t kept = size < sizeof answer->body - 1 ? size : sizeof answer->body - 1;
  memcpy(answer->body, body, kept);
  answer->body[kept] = 0;
  loop->is_done = true;
}

static void wait_for_answer(Loop *loop, Answer *answer) {
  if (!loop_run(loop, now() + 120)) fail("no answer in 120 s");
  if (answer->status != 200) fail("status %d: %.300s", answer->status, answer->body);
}

int measure_latency(int argc, char **argv) {
  if (argc != 5) fail("latency HOST:PORT PATH SIZE COUNT poll|wait");
  long count = atol(argv[3]), warm = 20;
  bool waits = strcmp(argv[4], "wait") == 0;
  size_t size;
  char *post = make_post(argv[0], argv[1], strtoul(argv[2], NULL, 10), &size);
  double *times = calloc((size_t)count, sizeof(double));
  static Answer answer;
  Loop loop;
  loop_open(&loop, argv[0], 1, answered, &answer);
  for (long i = -warm; i < count; i++) {
    double began = now();
    send_bytes(&loop.connections[0], post, size, 0);
    wait_for_answer(&loop, &answer);
    char id[37], path[256];
    take_id(answer.body, id);
    snprintf(path, sizeof path, "%s/%s", argv[1], id);
    while (true) {
      send_get(&loop.connections[0], path, waits ? "?wait=60" : "", 0);
      wait_for_answer(&loop, &answer);
      if (strstr(answer.body, "\"status\":\"completed\"")) break;
      if (!strstr(answer.body, "\"status\":\"in_")) fail("not completed: %.300s", answer.body);
      struct timespec pause = {.tv_nsec = 1000000};
      if (!waits) nanosleep(&pause, NULL);
    }
    if (i >= 0) times[i] = now() - began;
  }
  sort_numbers(times, count);
  printf("{\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n", 1000 * percentile(times, count, 0.5),
         1000 * percentile(times, count, 0.99), 1000 * times[count - 1]);
  return 0;
}
