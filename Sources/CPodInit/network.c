#define _GNU_SOURCE
#include "CLinux.h"
#include "CPodInit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_addr.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int write_file(const char *path, const char *text) {
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    ssize_t count = write(descriptor, text, strlen(text));
    int result = count < 0 ? -errno : 0;
    close(descriptor);
    return result;
}

int cx_enter_namespaces(const char **step) {
    char map[64];
    uid_t user = geteuid();
    gid_t group = getegid();
    *step = "drop groups";
    // Only root can, and only root has something to lose by it; inside, `setgroups` is denied to all.
    if (user == 0 && setgroups(0, NULL) < 0 && errno != EPERM) return -errno;
    *step = "make user and network namespaces";
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) return -errno;
    *step = "map users";
    int result = write_file("/proc/self/setgroups", "deny");
    if (result < 0 && result != -ENOENT) return result;
    snprintf(map, sizeof map, "0 %u 1\n", user);
    if ((result = write_file("/proc/self/uid_map", map)) < 0) return result;
    snprintf(map, sizeof map, "0 %u 1\n", group);
    return write_file("/proc/self/gid_map", map);
}

int cx_new_network(void) { return unshare(CLONE_NEWNET) < 0 ? -errno : 0; }

int cx_network(void) {
    int descriptor = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int cx_enter_network(int network) { return setns(network, CLONE_NEWNET) < 0 ? -errno : 0; }

// Ends in the network namespace, perhaps in its user namespace.
static int go_into(int network) {
    if (setns(network, CLONE_NEWNET) == 0) return 0;
    if (errno != EPERM) return -errno;
    // For a platform that is not root: the user namespace that owns it is one of its user's own.
    int owner = ioctl(network, NS_GET_USERNS);
    if (owner < 0) return -errno;
    int result = setns(owner, CLONE_NEWUSER) < 0 || setns(network, CLONE_NEWNET) < 0 ? -errno : 0;
    close(owner);
    return result;
}

int cx_send_sockets(int network, int output, int ipv6, int count, int *place) {
    int sockets[CX_PASSED];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof sockets)];
    } control;
    char byte = 0;
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space};
    *place = CX_HOME;
    if (count < 1 || count > CX_PASSED) return -EINVAL;
    // In the pod's user namespace its processes are equals: they could trace this one and take what it holds.
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return -errno;
    int result = go_into(network);
    if (result < 0) {
        if (cx_is_forbidden(-result)) *place = CX_FORBIDDEN;
        return result;
    }
    result = cx_make_sockets(sockets, ipv6, count);
    if (result < 0) return result;
    memset(&control, 0, sizeof control);
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(header), sockets, sizeof(int) * (size_t)count);
    return sendmsg(output, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

struct request {
    struct nlmsghdr header;
    char body[512];
};

static struct rtattr *append(struct request *request, unsigned short type, const void *data, size_t count) {
    struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(count);
    if (count > 0) memcpy(RTA_DATA(attribute), data, count);
    request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
    return attribute;
}

static void finish(struct request *request, struct rtattr *outer) {
    outer->rta_len = (char *)request + NLMSG_ALIGN(request->header.nlmsg_len) - (char *)outer;
}

// Sends one request and waits for its acknowledgement.
static int ask(struct request *request) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[1024];
    } answer;
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return -errno;
    // The kernel answers at once; a lost answer must not hold up the pod for ever.
    struct timeval limit = {.tv_sec = 5};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    request->header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    int result = 0;
    if (sendto(descriptor, request, request->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
        result = -errno;
    } else {
        ssize_t count = recv(descriptor, &answer, sizeof answer, 0);
        if (count < 0) result = errno == EAGAIN || errno == EWOULDBLOCK ? -ETIMEDOUT : -errno;
        else if ((size_t)count < NLMSG_LENGTH(sizeof answer.error) || answer.header.nlmsg_type != NLMSG_ERROR) result = -EPROTO;
        else result = answer.error.error;
    }
    close(descriptor);
    return result;
}

// A locally administered address.
static void append_hardware(struct request *request, unsigned short type, unsigned char number) {
    unsigned char address[6] = {2, 0, 0, 0, 0, number};
    append(request, type, address, sizeof address);
}

int cx_link_pair(const char *name, const char *peer, int network) {
    struct request request;
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg));
    request.header.nlmsg_type = RTM_NEWLINK;
    request.header.nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
    append(&request, IFLA_IFNAME, name, strlen(name) + 1);
    append_hardware(&request, IFLA_ADDRESS, 1);
    struct rtattr *information = append(&request, IFLA_LINKINFO, NULL, 0);
    append(&request, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = append(&request, IFLA_INFO_DATA, NULL, 0);
    struct ifinfomsg unspecified;
    memset(&unspecified, 0, sizeof unspecified);
    struct rtattr *other = append(&request, VETH_INFO_PEER, &unspecified, sizeof unspecified);
    append(&request, IFLA_IFNAME, peer, strlen(peer) + 1);
    append_hardware(&request, IFLA_ADDRESS, 2);
    uint32_t descriptor = (uint32_t)network;
    append(&request, IFLA_NET_NS_FD, &descriptor, sizeof descriptor);
    finish(&request, other);
    finish(&request, data);
    finish(&request, information);
    return ask(&request);
}

int cx_link_address(const char *name, uint32_t address, int prefix) {
    struct request request;
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg));
    request.header.nlmsg_type = RTM_NEWADDR;
    request.header.nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
    struct ifaddrmsg *message = NLMSG_DATA(&request.header);
    message->ifa_family = AF_INET;
    message->ifa_prefixlen = (unsigned char)prefix;
    message->ifa_scope = RT_SCOPE_UNIVERSE;
    message->ifa_index = if_nametoindex(name);
    if (message->ifa_index == 0) return -errno;
    uint32_t bytes = htonl(address);
    append(&request, IFA_LOCAL, &bytes, sizeof bytes);
    append(&request, IFA_ADDRESS, &bytes, sizeof bytes);
    return ask(&request);
}

int cx_link_neighbour(const char *name, uint32_t address, unsigned char number) {
    struct request request;
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = NLMSG_LENGTH(sizeof(struct ndmsg));
    request.header.nlmsg_type = RTM_NEWNEIGH;
    request.header.nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
    struct ndmsg *message = NLMSG_DATA(&request.header);
    message->ndm_family = AF_INET;
    message->ndm_state = NUD_PERMANENT;
    message->ndm_ifindex = (int)if_nametoindex(name);
    if (message->ndm_ifindex == 0) return -errno;
    uint32_t bytes = htonl(address);
    append(&request, NDA_DST, &bytes, sizeof bytes);
    append_hardware(&request, NDA_LLADDR, number);
    return ask(&request);
}

int cx_free_low_ports(void) { return write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"); }

int cx_link_up(const char *name) {
    struct ifreq link;
    memset(&link, 0, sizeof link);
    strncpy(link.ifr_name, name, sizeof link.ifr_name - 1);
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    int result = 0;
    if (ioctl(descriptor, SIOCGIFFLAGS, &link) < 0) {
        result = -errno;
    } else {
        link.ifr_flags |= IFF_UP;
        if (ioctl(descriptor, SIOCSIFFLAGS, &link) < 0) result = -errno;
    }
    close(descriptor);
    return result;
}

int cx_route_rule(int ipv6, const void *address, int prefix, unsigned int priority, int reachable) {
    struct request request;
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = NLMSG_LENGTH(sizeof(struct fib_rule_hdr));
    request.header.nlmsg_type = RTM_NEWRULE;
    request.header.nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
    struct fib_rule_hdr *rule = NLMSG_DATA(&request.header);
    rule->family = ipv6 ? AF_INET6 : AF_INET;
    rule->dst_len = (unsigned char)prefix;
    rule->table = reachable ? RT_TABLE_MAIN : RT_TABLE_UNSPEC;
    rule->action = reachable ? FR_ACT_TO_TBL : FR_ACT_UNREACHABLE;
    if (prefix > 0) append(&request, FRA_DST, address, ipv6 ? 16 : 4);
    append(&request, FRA_PRIORITY, &priority, sizeof priority);
    int result = ask(&request);
    return result == -EEXIST ? 0 : result;
}
