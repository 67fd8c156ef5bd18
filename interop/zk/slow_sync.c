// LD_PRELOAD: every sync of a file takes as many ms longer as the file SLOW_SYNC says.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_for_it(void) {
    const char *name = getenv("SLOW_SYNC");
    char text[16] = {0};
    int fd = name ? open(name, O_RDONLY) : -1;
    if (fd < 0) return;
    long ms = read(fd, text, sizeof text - 1) > 0 ? atol(text) : 0;
    close(fd);
    struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&rest, 0);
}

int fdatasync(int fd) { wait_for_it(); return syscall(SYS_fdatasync, fd); }
int fsync(int fd) { wait_for_it(); return syscall(SYS_fsync, fd); }
