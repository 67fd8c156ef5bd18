/* Preloaded: each fsync and fdatasync takes as many milliseconds longer as the file that
 * SLOW_SYNC names says. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_as_told(void) {
    const char *name = getenv("SLOW_SYNC");
    char text[16] = {0};
    if (name == NULL) {
        return;
    }
    int file = open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return;
    }
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    long ms = length > 0 ? atol(text) : 0;
    if (ms > 0) {
        struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
        nanosleep(&time, NULL);
    }
}

int fsync(int file) {
    wait_as_told();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    wait_as_told();
    return (int)syscall(SYS_fdatasync, file);
}
