#define _GNU_SOURCE
#include "CPodInit.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Where `execvp` finds the program: the name itself if it has a slash, else the first file of that name in PATH. 0 when
// there is none.
static int locate(const char *program, char *path, size_t size) {
    struct stat found;
    if (strchr(program, '/') != NULL) {
        snprintf(path, size, "%s", program);
        return stat(path, &found) == 0;
    }
    const char *folders = getenv("PATH");
    while (folders != NULL && *folders != 0) {
        size_t length = strcspn(folders, ":");
        snprintf(path, size, "%.*s/%s", (int)length, folders, program);
        if (length > 0 && stat(path, &found) == 0 && S_ISREG(found.st_mode)) return 1;
        folders += length + (folders[length] == ':');
    }
    return 0;
}

int cx_locate_binary(const char *program, char *path, size_t size) {
    char start[4] = "";
    int descriptor = locate(program, path, size) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t count = descriptor < 0 ? 0 : read(descriptor, start, sizeof start);
    if (descriptor >= 0) close(descriptor);
    return count == (ssize_t)sizeof start && memcmp(start, "\177ELF", sizeof start) == 0;
}

// The file is there; what it needs to run is not.
static void missing_part(const char *path, char *text, size_t size) {
    char line[256];
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = descriptor < 0 ? 0 : read(descriptor, line, sizeof line - 1);
    if (descriptor >= 0) close(descriptor);
    line[count > 0 ? count : 0] = 0;
    if (strncmp(line, "#!", 2) != 0) {
        snprintf(text, size, "the loader that it needs is not there; it was built for another C library or processor");
        return;
    }
    size_t end = strcspn(line, "\n");
    if (line[end] == '\n' && end > 0 && line[end - 1] == '\r') {
        snprintf(text, size, "its lines end with CR LF, so no interpreter is found; save it with LF line ends");
        return;
    }
    line[end] = 0;
    char *interpreter = line + 2 + strspn(line + 2, " \t");
    interpreter[strcspn(interpreter, " \t")] = 0;
    snprintf(text, size, "its interpreter %.200s is not there", interpreter);
}

void cx_explain(const char *program, int error, char *text, size_t size) {
    char path[4096];
    struct stat found;
    int isThere = locate(program, path, sizeof path);
    int isFolder = isThere && stat(path, &found) == 0 && S_ISDIR(found.st_mode);
    snprintf(text, size, "%s", strerror(error));
    size_t used = strlen(text);
    if (error == ENOENT && isThere) {
        missing_part(path, text, size);
    } else if ((error == ENOENT || error == ENOTDIR) && strpbrk(program, " \t\n") != NULL) {
        snprintf(text + used, size - used, "; write the program and each argument as an item of its own: [\"python3\", \"app.py\"]");
    } else if (error == ENOENT && strchr(program, '/') == NULL) {
        snprintf(text + used, size - used, " in any folder of PATH");
    } else if (error == EACCES && isFolder) {
        snprintf(text, size, "it is a folder, not a program");
    } else if (error == EACCES && isThere && access(path, X_OK) < 0) {
        snprintf(text + used, size - used, "; make it executable (chmod +x), or name its interpreter: [\"python3\", \"app.py\"]");
    } else if (error == ENOEXEC) {
        snprintf(text + used, size - used, "; it is no program, or one for another processor");
    } else if (error == E2BIG) {
        snprintf(text + used, size - used, "; shorten args and env, or put the text into a file");
    }
}
