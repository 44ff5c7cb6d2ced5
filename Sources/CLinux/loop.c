#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

int cx_poller(void) {
    int descriptor = epoll_create1(EPOLL_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int cx_poller_set(int poller, int descriptor, int interest, uint64_t token, int known) {
    struct epoll_event event = {.data.u64 = token};
    if (interest & CX_READ) event.events |= EPOLLIN;
    if (interest & CX_WRITE) event.events |= EPOLLOUT;
    int result = epoll_ctl(poller, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event);
    return result < 0 ? -errno : 0;
}

int cx_poller_remove(int poller, int descriptor) {
    return epoll_ctl(poller, EPOLL_CTL_DEL, descriptor, NULL) < 0 ? -errno : 0;
}

int cx_poller_wait(int poller, uint64_t *tokens, int *readiness, int capacity, int timeout) {
    struct epoll_event events[64];
    int count = epoll_wait(poller, events, capacity < 64 ? capacity : 64, timeout);
    if (count < 0) return errno == EINTR ? 0 : -errno;
    for (int index = 0; index < count; index++) {
        tokens[index] = events[index].data.u64;
        readiness[index] = (events[index].events & EPOLLIN ? CX_READ : 0)
            | (events[index].events & EPOLLOUT ? CX_WRITE : 0)
            | (events[index].events & (EPOLLHUP | EPOLLERR) ? CX_HANGUP : 0);
    }
    return count;
}

int cx_folder_watcher(void) {
    int descriptor = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

int cx_watch_folder(int watcher, const char *path) {
    int watch = inotify_add_watch(
        watcher, path,
        IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW);
    return watch < 0 ? -errno : watch;
}

int cx_unwatch_folder(int watcher, int watch) { return inotify_rm_watch(watcher, watch) < 0 ? -errno : 0; }

int cx_changed_folders(int watcher, int *watches, int capacity) {
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t size = read(watcher, buffer, sizeof buffer);
    if (size < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    int count = 0;
    for (ssize_t offset = 0; offset < size && count < capacity;) {
        struct inotify_event *event = (struct inotify_event *)(buffer + offset);
        // With the mark of an overflow the watch is -1.
        if (count == 0 || watches[count - 1] != event->wd) watches[count++] = event->wd;
        offset += (ssize_t)(sizeof *event + event->len);
    }
    return count;
}

int64_t cx_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t cx_epoch_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
