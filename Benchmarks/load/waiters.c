// waiters HOST:PORT PATH COUNT SECONDS PID: submits COUNT requests to a container that delays them, lets COUNT callers
// wait for them, prints "waiting" when all do, and then prints the platform's processor time over SECONDS.
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  char *post;
  size_t size;
  char (*ids)[37];
  long count, sent, accepted, answered;
  bool waits;
} Waiters;

static void answered(Loop *loop, Connection *connection, int status, char *body, size_t size) {
  Waiters *waiters = loop->context;
  (void)size;
  if (status != 200) fail("status %d: %.300s", status, body);
  if (waiters->waits) {
    waiters->answered++;
    loop->is_done = waiters->answered == waiters->count;
    return;
  }
  take_id(body, waiters->ids[connection->tag]);
  waiters->accepted++;
  if (waiters->sent < waiters->count) send_bytes(connection, waiters->post, waiters->size, waiters->sent++);
  loop->is_done = waiters->accepted == waiters->count;
}

int measure_waiters(int argc, char **argv) {
  if (argc != 5) fail("waiters HOST:PORT PATH COUNT SECONDS PID");
  Waiters waiters = {.count = atol(argv[2])};
  int pid = atoi(argv[4]);
  allow_connections(waiters.count);
  waiters.post = make_post(argv[0], argv[1], 100, &waiters.size);
  waiters.ids = calloc((size_t)waiters.count, 37);
  Loop loop;
  loop_open(&loop, argv[0], 64, answered, &waiters);
  for (int i = 0; i < loop.count; i++) send_bytes(&loop.connections[i], waiters.post, waiters.size, waiters.sent++);
  if (!loop_run(&loop, now() + 300)) fail("not submitted after 300 s");
  loop_close(&loop);
  waiters.waits = true;
  puts("submitted");
  fflush(stdout);
  getchar();
  loop_open(&loop, argv[0], (int)waiters.count, answered, &waiters);
  for (int i = 0; i < loop.count; i++) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", argv[1], waiters.ids[i]);
    send_get(&loop.connections[i], path, "?wait=60", i);
  }
  double began = now();
  loop_run(&loop, began + 3);
  puts("waiting");
  fflush(stdout);
  double cpu = cpu_of(pid), seconds = atof(argv[3]);
  began = now();
  loop_run(&loop, began + seconds);
  cpu = cpu_of(pid) - cpu;
  if (waiters.answered > 0) fail("%ld were answered although nothing ended", waiters.answered);
  double resumed = now();
  puts("open");
  fflush(stdout);
  // The program that started this one now opens the gate, and every waiting caller is answered.
  if (!loop_run(&loop, now() + 120)) fail("only %ld of %ld were answered", waiters.answered, waiters.count);
  printf("{\"cpu_percent\": %.3f, \"all_answered_s\": %.2f}\n", 100 * cpu / seconds, now() - resumed);
  return 0;
}
