#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int cx_network_of(int process) {
    char path[64] = "/proc/thread-self/ns/net";
    if (process != 0) snprintf(path, sizeof path, "/proc/%d/ns/net", process);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int cx_is_other_network(int descriptor) {
    struct stat own, other;
    return ioctl(descriptor, NS_GET_NSTYPE) == CLONE_NEWNET && stat("/proc/self/ns/net", &own) == 0
        && fstat(descriptor, &other) == 0 && (own.st_ino != other.st_ino || own.st_dev != other.st_dev);
}

int cx_is_forbidden(int error) { return error == EPERM || error == ENOSYS; }

int cx_make_sockets(int *sockets, int ipv6, int count) {
    for (int index = 0; index < count; index++) {
        sockets[index] = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (sockets[index] >= 0) continue;
        int error = errno;
        while (index > 0) close(sockets[--index]);
        return -error;
    }
    return 0;
}

int cx_sockets_in(int network, int home, int ipv6, int *sockets, int count, int *place) {
    *place = CX_HOME;
    if (count < 1 || count > CX_PASSED) return -EINVAL;
    if (setns(network, CLONE_NEWNET) < 0) {
        int error = errno;
        if (cx_is_forbidden(error)) *place = CX_FORBIDDEN;
        return -error;
    }
    int result = cx_make_sockets(sockets, ipv6, count);
    if (setns(home, CLONE_NEWNET) < 0) *place = CX_LOST;
    return result;
}
