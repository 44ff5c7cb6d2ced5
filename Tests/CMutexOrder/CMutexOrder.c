// Shows ThreadSanitizer the contended part of Swift's Mutex. Linked into tests that run under that sanitizer.
//
// The uncontended part is compiled into the caller, where the sanitizer sees it. The rest is in the library
// libswiftSynchronization, which is not instrumented: without this file, everything that one thread passes to another
// through a contended Mutex is reported as a race. The functions below replace the library's and show the sanitizer
// what they order.

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// The library's function, which is found once at each call site.
static void *original(void **known, const char *name) {
  void *found = __atomic_load_n(known, __ATOMIC_ACQUIRE);
  if (found == NULL) {
    found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    __atomic_store_n(known, found, __ATOMIC_RELEASE);
  }
  return found;
}

SWIFT void cx_lock_slow(uint32_t thread, SELF) __asm__(LOCK);
SWIFT void cx_lock_slow(uint32_t thread, SELF) {
  static void *known;
  ((SWIFT void (*)(uint32_t, SELF))original(&known, LOCK))(thread, self);
  __tsan_acquire(self);
}

SWIFT _Bool cx_try_lock_slow(SELF) __asm__(TRY_LOCK);
SWIFT _Bool cx_try_lock_slow(SELF) {
  static void *known;
  _Bool isLocked = ((SWIFT _Bool (*)(SELF))original(&known, TRY_LOCK))(self);
  if (isLocked) __tsan_acquire(self);
  return isLocked;
}

SWIFT void cx_unlock_slow(SELF) __asm__(UNLOCK);
SWIFT void cx_unlock_slow(SELF) {
  static void *known;
  __tsan_release(self);
  ((SWIFT void (*)(SELF))original(&known, UNLOCK))(self);
}

#endif
#endif
