/* Preloaded into a server on SQLite. While the file that DIE_AFTER_SYNC names is there, the process writes a family of
   refresh tokens, syncs it to the disk as ever, and is gone before it hears of that. The file is removed first, so that
   the next process lives. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char family[] = "refresh/";
static volatile int is_written;

static void look(const void *bytes, size_t size)
{
    const char *order = getenv("DIE_AFTER_SYNC");
    if (order && memmem(bytes, size, family, sizeof family - 1) && access(order, F_OK) == 0)
        is_written = 1;
}

ssize_t write(int file, const void *bytes, size_t size)
{
    look(bytes, size);
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(file, bytes, size);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at)
{
    look(bytes, size);
    return ((ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(file, bytes, size, at);
}

static int synced(const char *name, int file)
{
    int result = ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
    if (is_written && unlink(getenv("DIE_AFTER_SYNC")) == 0)
        kill(getpid(), SIGKILL);
    return result;
}

int fsync(int file) { return synced("fsync", file); }
int fdatasync(int file) { return synced("fdatasync", file); }
