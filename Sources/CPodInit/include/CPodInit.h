// What only PodInit needs of Linux and Swift cannot express: fork, namespaces, mounts, netlink and signals.
// Every function returns a negative errno on failure unless its comment says otherwise. None of them prints, exits or
// keeps state.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// MARK: processes (process.c)

/// Blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD, ignores SIGPIPE, and returns a descriptor that reports them.
int cx_signals(void);
/// The next signal, or -EAGAIN.
int cx_next_signal(int signals);
/// Reaps one ended child: its process id (0: none ended, -ECHILD: none left) and its exit code (128 + signal).
int cx_reap(int *code);
/// Raises the limit of open files to what is allowed and returns it.
long cx_raise_file_limit(void);
/// Like `cx_raise_file_limit`, and returns the old limit in `*before`.
long cx_raise_file_limit_from(long *before);

/// A file or folder of the host that bubblewrap binds into a container. Bubblewrap finds it at `CX_STAGE/INDEX`, in a
/// mount namespace of its own. Therefore its command line holds no path of the host, a folder that only the platform
/// may enter does not block it, and a path cannot be exchanged between check and use.
struct cx_mount {
    /// Absolute.
    const char *source;
    /// A volume: `source` is opened without following any link, and its files have `volume_owners`.
    int is_volume;
};
#define CX_STAGE "/sys"

/// What a child becomes between fork and exec.
struct cx_child {
    /// The program, absolute, or searched in the environment's PATH.
    const char *program;
    /// Ended by NULL, both.
    char *const *arguments;
    char *const *environment;
    /// Working folder; NULL: the present one.
    const char *folder;
    /// Standard output and error; standard input is empty.
    int output;
    /// Gets one text when the program cannot be run; stays open for the program if `keeps_report`.
    int report;
    int keeps_report;
    /// Further descriptors that the program gets, ended by -1. It gets no others.
    const int *kept;
    /// `cgroup.procs` files to join, ended by NULL.
    char *const *cgroups;
    /// Soft limit of open files.
    long files;
    /// Limit of processes and threads of the pod; 0 for none.
    long processes;
    const struct cx_mount *mounts;
    size_t mount_count;
    /// The pod's user namespace, in which the child becomes user 0; -1 where the caller is in it.
    int user_namespace;
    /// A user namespace whose map says which owners files in volumes have; -1: their own.
    int volume_owners;
    /// The user's number inside the container; for `cx_spawn_inside`.
    unsigned user;
    /// System call filter (array of `struct sock_filter`) for the program; empty for none.
    const void *filter;
    size_t filter_size;
};

/// Starts a child in a session of its own that dies with the caller. Returns its process id.
int cx_spawn(const struct cx_child *child);
/// Starts a child inside the namespaces of process `target`, without capabilities and descriptors of the caller; the
/// container cannot trace it before it runs its program. The caller must be single-threaded.
int cx_spawn_inside(const struct cx_child *child, int target);
/// Replaces this process with `child` (which ignores `output`, `cgroups` and `files`); returns only on failure.
int cx_become(const struct cx_child *child);
/// Forks into the background in a new session. Returns the descriptor to read the daemon's report from (in the parent),
/// or 0 in the daemon, with `*report` to write to.
int cx_daemonise(int *report);
/// The process that bubblewrap's init (`init`) runs: its first child. 0 when there is none (any more).
int cx_main_process(int init);
/// Signals that process, if it still is that process.
int cx_signal_main(int init, int signal);
/// Makes this process the parent of its orphaned descendants.
int cx_adopt_orphans(void);
/// A descriptor from which the bytes can be read.
int cx_memory_file(const void *bytes, size_t count);
/// A pipe; the reading end does not block, both are close-on-exec.
int cx_pipe(int *reading, int *writing);

// MARK: namespaces (network.c)

/// New user and network namespaces, this user being 0 in them. `*step` names what failed.
int cx_enter_namespaces(const char **step);
/// A further network namespace; the process is in it afterwards.
int cx_new_network(void);
/// The present network namespace.
int cx_network(void);
/// Enters a network namespace.
int cx_enter_network(int network);
/// Enters a network namespace, if necessary through the user namespace that owns it, makes `count` non-blocking TCP
/// sockets there and sends them, with one byte, to the unix socket `output`. For a process of its own: it does not
/// return to its namespaces and cannot be traced afterwards. `*place` is CX_FORBIDDEN where the kernel refuses.
int cx_send_sockets(int network, int output, int ipv6, int count, int *place);
/// Makes a pair of virtual links, `name` here and `peer` in another network namespace. Their hardware addresses end
/// with 1 and 2.
int cx_link_pair(const char *name, const char *peer, int network);
/// Adds an IPv4 address (host byte order) to a link.
int cx_link_address(const char *name, uint32_t address, int prefix);
/// Says for good that an IPv4 address (host byte order) belongs to the other link of a pair, by the last byte of that
/// link's hardware address. The link must be on.
int cx_link_neighbour(const char *name, uint32_t address, unsigned char number);
/// Lets containers without capabilities listen on ports below 1024 of this network namespace.
int cx_free_low_ports(void);
/// Switches a link on.
int cx_link_up(const char *name);
/// Adds a rule before the routes of this network namespace: a destination (network byte order) is routed as usual, or
/// is unreachable. The rule with the lower priority number decides. A rule that exists is no failure.
int cx_route_rule(int ipv6, const void *address, int prefix, unsigned int priority, int reachable);
/// Takes this user permanently: no further groups, no capabilities, not traceable. The caller must be single-threaded.
int cx_become_user(unsigned int user, unsigned int group);

// MARK: mounts and user namespaces (mounts.c)

/// Enters a new mount namespace and mounts `mounts` at CX_STAGE. `*failed` is the source that failed, or empty.
int cx_stage(const struct cx_mount *mounts, size_t count, int volume_owners, const char **failed);
/// Makes a user namespace with a map of users and groups (`INSIDE OUTSIDE COUNT` lines). Returns its descriptor.
int cx_user_namespace(const char *map);
/// Leaves all supplementary groups.
int cx_drop_groups(void);
/// Leaves the session keyring for a new, empty one.
int cx_new_keyring(void);

// MARK: messages (explain.c)

/// Whether `program`, searched in the environment's PATH, is an ELF file; `path` is where it is then.
int cx_locate_binary(const char *program, char *path, size_t size);
/// Why `program` could not be executed, with the usual cause, searched in the environment's PATH.
void cx_explain(const char *program, int error, char *text, size_t size);
