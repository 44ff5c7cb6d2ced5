#define _GNU_SOURCE
#include "CLinux.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// Fills `address` for `path`. A path that does not fit is reached through its folder's descriptor, which the caller
// closes.
static int unix_address(const char *path, struct sockaddr_un *address, int *folder) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    *folder = -1;
    size_t length = strlen(path);
    if (length < sizeof address->sun_path) {
        memcpy(address->sun_path, path, length);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path || length >= 4096) return -ENAMETOOLONG;
    char parent[4096];
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = 0;
    int descriptor = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    int written = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", descriptor, slash + 1);
    if (written < 0 || (size_t)written >= sizeof address->sun_path) {
        close(descriptor);
        return -ENAMETOOLONG;
    }
    *folder = descriptor;
    return 0;
}

int cx_unix_connect(const char *path) {
    struct sockaddr_un address;
    int folder;
    int result = unix_address(path, &address, &folder);
    if (result < 0) return result;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        result = -errno;
    } else if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) {
        result = -errno;
        close(descriptor);
    } else {
        result = descriptor;
    }
    if (folder >= 0) close(folder);
    return result;
}

int cx_unix_listen(const char *path, unsigned int mode, int backlog) {
    struct sockaddr_un address;
    struct stat present;
    int folder;
    int result = unix_address(path, &address, &folder);
    if (result < 0) return result;
    if (lstat(address.sun_path, &present) == 0 && S_ISSOCK(present.st_mode)) unlink(address.sun_path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        result = -errno;
    } else if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0
               || chmod(address.sun_path, mode) < 0 || listen(descriptor, backlog) < 0) {
        result = -errno;
        close(descriptor);
    } else {
        result = descriptor;
    }
    if (folder >= 0) close(folder);
    return result;
}

int cx_tcp_listen(uint32_t host, uint16_t port, int backlog) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(host);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    int one = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0 || listen(descriptor, backlog) < 0) {
        int result = -errno;
        close(descriptor);
        return result;
    }
    return descriptor;
}

int cx_connect_loopback(int descriptor, uint16_t port, int ipv6) {
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    memset(&four, 0, sizeof four);
    memset(&six, 0, sizeof six);
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    six.sin6_addr = in6addr_loopback;
    int one = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int result = ipv6 ? connect(descriptor, (struct sockaddr *)&six, sizeof six)
                      : connect(descriptor, (struct sockaddr *)&four, sizeof four);
    return result < 0 ? -errno : 0;
}

int cx_loopback_connect(uint16_t port, int ipv6) {
    int descriptor = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    int result = cx_connect_loopback(descriptor, port, ipv6);
    if (result == 0 || result == -EINPROGRESS) return descriptor;
    close(descriptor);
    return result;
}

int cx_socket_pair(int *first, int *second) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) return -errno;
    *first = ends[0];
    *second = ends[1];
    return 0;
}

int cx_accept(int listener) {
    int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int cx_socket_error(int descriptor) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
    return error;
}

void cx_reset_on_close(int descriptor) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

ssize_t cx_send(int descriptor, const void *bytes, size_t count, int passed) {
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    if (passed >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &passed, sizeof passed);
    }
    ssize_t result;
    do {
        result = sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

ssize_t cx_receive_all(int descriptor, void *bytes, size_t count, int *passed, int *held) {
    struct iovec vector = {.iov_base = bytes, .iov_len = count};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * CX_PASSED)];
    } control;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    *held = 0;
    ssize_t result;
    do {
        result = recvmsg(descriptor, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t present = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < present && *held < CX_PASSED; index++) {
            memcpy(&passed[*held], CMSG_DATA(header) + index * sizeof(int), sizeof(int));
            *held += 1;
        }
    }
    return result;
}

ssize_t cx_receive(int descriptor, void *bytes, size_t count, int *passed) {
    int all[CX_PASSED];
    int held;
    ssize_t result = cx_receive_all(descriptor, bytes, count, all, &held);
    *passed = held > 0 ? all[0] : -1;
    // Several descriptors are a mistake of the other side: only the first is kept open.
    for (int index = 1; index < held; index++) close(all[index]);
    return result;
}

int cx_is_tcp(int descriptor) {
    int domain = 0, type = 0, protocol = 0;
    socklen_t length = sizeof domain;
    if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0) return 0;
    length = sizeof type;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) < 0) return 0;
    length = sizeof protocol;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) < 0) return 0;
    return (domain == AF_INET || domain == AF_INET6) && type == SOCK_STREAM && protocol == IPPROTO_TCP;
}

int cx_hang_up(int descriptor) {
    shutdown(descriptor, SHUT_RDWR);
    // Looking takes nothing out: descriptors among the bytes stay where they are.
    char byte;
    return recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

int cx_is_self_connected(int descriptor) {
    struct sockaddr_storage local, peer;
    socklen_t local_length = sizeof local, peer_length = sizeof peer;
    memset(&local, 0, sizeof local);
    memset(&peer, 0, sizeof peer);
    if (getsockname(descriptor, (struct sockaddr *)&local, &local_length) < 0
        || getpeername(descriptor, (struct sockaddr *)&peer, &peer_length) < 0) return 0;
    return local_length == peer_length && memcmp(&local, &peer, local_length) == 0;
}
