// complete HOST:PORT PATH SIZE CONNECTIONS COUNT PID: submits COUNT requests, waits for the last, then reads and checks
// every result. The time ends when the last result is stored; the processor time includes submit, run, store, and one
// poll per request.
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  char *post;
  size_t size;
  const char *path;
  char (*ids)[37];
  long count, submitted, accepted, asked, checked, late;
  enum { SUBMITTING, LAST, CHECKING } stage;
  double ended;
} Complete;

static void ask(Connection *connection, Complete *complete, long number, const char *query) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", complete->path, complete->ids[number]);
  send_get(connection, path, query, number);
}

static void check(const char *body) {
  if (!strstr(body, "\"status\":\"completed\"") || !strstr(body, "\"result\":{\"ok\":true}"))
    fail("a request was not completed: %.300s", body);
}

static void answered(Loop *loop, Connection *connection, int status, char *body, size_t size) {
  Complete *complete = loop->context;
  (void)size;
  if (status != 200) fail("status %d: %.300s", status, body);
  switch (complete->stage) {
  case SUBMITTING:
    take_id(body, complete->ids[connection->tag]);
    complete->accepted++;
    if (complete->submitted < complete->count) {
      send_bytes(connection, complete->post, complete->size, complete->submitted++);
    }
    loop->is_done = complete->accepted == complete->count;
    return;
  case LAST:
    loop->is_done = true;
    complete->ended = now();
    check(body);
    return;
  case CHECKING:
    if (strstr(body, "\"status\":\"in_")) {
      complete->late++;
      ask(connection, complete, connection->tag, "?wait=60");
      return;
    }
    check(body);
    if (strstr(connection->head, "?wait")) complete->ended = now();
    complete->checked++;
    if (complete->asked < complete->count) ask(connection, complete, complete->asked++, "");
    loop->is_done = complete->checked == complete->count;
  }
}

int measure_complete(int argc, char **argv) {
  if (argc != 6) fail("complete HOST:PORT PATH SIZE CONNECTIONS COUNT PID");
  Complete complete = {.path = argv[1], .count = atol(argv[4])};
  complete.post = make_post(argv[0], argv[1], strtoul(argv[2], NULL, 10), &complete.size);
  complete.ids = calloc((size_t)complete.count, 37);
  int pid = atoi(argv[5]);
  Loop loop;
  loop_open(&loop, argv[0], atoi(argv[3]), answered, &complete);
  double cpu = cpu_of(pid), began = now(), deadline = began + 600;
  for (int i = 0; i < loop.count && complete.submitted < complete.count; i++)
    send_bytes(&loop.connections[i], complete.post, complete.size, complete.submitted++);
  bool in_time = loop_run(&loop, deadline);
  double submitted = now() - began;
  complete.stage = LAST;
  ask(&loop.connections[0], &complete, complete.count - 1, "?wait=60");
  in_time = in_time && loop_run(&loop, deadline);
  double run_cpu = cpu_of(pid) - cpu;
  complete.stage = CHECKING;
  for (int i = 0; i < loop.count && complete.asked < complete.count; i++)
    ask(&loop.connections[i], &complete, complete.asked++, "");
  in_time = in_time && loop_run(&loop, deadline);
  if (!in_time) fail("not complete after 600 s: %ld of %ld", complete.checked, complete.count);
  double took = complete.ended - began, count = (double)complete.count;
  printf("{\"per_second\": %.1f, \"submits_per_second\": %.1f, \"cpu_ms\": %.4f, \"cpu_ms_without_poll\": %.4f, "
         "\"polls_per_second\": %.1f, \"late\": %ld}\n",
         count / took, count / submitted, 1000 * (cpu_of(pid) - cpu) / count, 1000 * run_cpu / count,
         count / (now() - complete.ended), complete.late);
  return 0;
}
