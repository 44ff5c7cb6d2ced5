#include "load.h"
#include <stdio.h>
#include <string.h>

static const struct {
  const char *name;
  int (*run)(int, char **);
} measures[] = {{"submit", measure_submit},   {"complete", measure_complete}, {"latency", measure_latency},
                {"waiters", measure_waiters}, {"stream", measure_stream},     {"requests", measure_requests},
                {"transfer", measure_transfer}, {"hold", measure_hold}};

int main(int argc, char **argv) {
  for (size_t i = 0; argc > 1 && i < sizeof measures / sizeof *measures; i++)
    if (strcmp(argv[1], measures[i].name) == 0) return measures[i].run(argc - 2, argv + 2);
  fail("load submit|complete|latency|waiters|stream|requests|transfer|hold ...; the file of each says what it takes");
}
