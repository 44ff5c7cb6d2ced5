#include "CSimulation.h"
#include <stdint.h>

// The concurrency runtime's own hook (stdlib/public/Concurrency, GlobalExecutor): consulted for every job of the global
// executor. With it, tasks that the code under test starts by itself are under the simulation's control too, and that
// code needs no change for it.
#define SWIFTCC __attribute__((swiftcall))

typedef SWIFTCC void (*enqueue_original)(void *job);
extern SWIFTCC void (*swift_task_enqueueGlobal_hook)(void *job, enqueue_original original);

// "No executor in particular", as the runtime passes it.
struct executor {
    void *identity;
    uintptr_t implementation;
};
extern SWIFTCC void swift_job_run(void *job, struct executor executor);

static void (*taker)(void *context, void *job);
static _Thread_local void *present;

static SWIFTCC void hook(void *job, enqueue_original original) {
    if (present) {
        taker(present, job);
    } else {
        original(job);
    }
}

void csim_install(void (*take)(void *context, void *job)) {
    taker = take;
    swift_task_enqueueGlobal_hook = hook;
}

void csim_enter(void *context) { present = context; }

void csim_leave(void) { present = 0; }

void csim_run(void *job) {
    struct executor none = {0, 0};
    swift_job_run(job, none);
}
