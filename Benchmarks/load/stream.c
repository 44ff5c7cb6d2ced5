// stream HOST:PORT PATH SIZE: sends one body of SIZE bytes and waits for its result; prints the seconds of the POST and
// of the whole.
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char answer[65536];

static void answered(Loop *loop, Connection *connection, int status, char *body, size_t size) {
  (void)connection;
  if (status != 200) fail("status %d: %.300s", status, body);
  memcpy(answer, body, size < sizeof answer - 1 ? size : sizeof answer - 1);
  loop->is_done = true;
}

int measure_stream(int argc, char **argv) {
  if (argc != 3) fail("stream HOST:PORT PATH SIZE");
  size_t size;
  char *post = make_post(argv[0], argv[1], strtoul(argv[2], NULL, 10), &size);
  Loop loop;
  loop_open(&loop, argv[0], 1, answered, NULL);
  double began = now();
  send_bytes(&loop.connections[0], post, size, 0);
  if (!loop_run(&loop, now() + 600)) fail("not accepted after 600 s");
  double accepted = now() - began;
  char id[37], path[256];
  take_id(answer, id);
  snprintf(path, sizeof path, "%s/%s", argv[1], id);
  do {
    send_get(&loop.connections[0], path, "?wait=60", 0);
    if (!loop_run(&loop, now() + 120)) fail("no answer");
  } while (strstr(answer, "\"status\":\"in_"));
  if (!strstr(answer, "\"status\":\"completed\"")) fail("not completed: %.300s", answer);
  printf("{\"accepted_s\": %.2f, \"completed_s\": %.2f}\n", accepted, now() - began);
  return 0;
}
