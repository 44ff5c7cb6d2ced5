#include "CSimulation.h"
#include <stdint.h>

// A hook of the concurrency runtime (stdlib/public/Concurrency, GlobalExecutor), called for every job of the global
// executor. With it the simulation also controls tasks that the code under test starts, without a change of that code.
#define SWIFTCC __attribute__((swiftcall))

typedef SWIFTCC void (*enqueue_original)(void *job);
extern SWIFTCC void (*swift_task_enqueueGlobal_hook)(void *job, enqueue_original original);

// "No executor", as the runtime passes it.
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
