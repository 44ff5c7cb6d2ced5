#ifndef CSIMULATION_H
#define CSIMULATION_H

/// Every job that a thread between `csim_enter` and `csim_leave` passes to Swift's global executor goes to `take`
/// instead, together with that thread's context. Jobs of other threads are not affected. Must be called once, before
/// any `csim_enter`.
void csim_install(void (*_Nonnull take)(void *_Nonnull context, void *_Nonnull job));

void csim_enter(void *_Nonnull context);
void csim_leave(void);

/// Runs a job that was passed to `take`, on the calling thread, until it suspends or ends.
void csim_run(void *_Nonnull job);

#endif
