/* Processes to examine. Each ends when its standard input closes, so that none remains. A first argument that is not one of
 * these words is ignored: it makes the command line look like that of a server.
 *
 *   server descriptors N DIRECTORY    N descriptors in all; of every 100: 50 state.db, 5 -wal, 5 -shm, 20 files of their own,
 *                                      10 sockets, 10 ends of pipes; it listens on 127.0.0.1 and prints `ready PORT`
 *   server idle N                     N processes that wait, and this one; prints `ready 0`
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int must(int result, const char *what) {
    if (result < 0)
        fail(what);
    return result;
}

/* Opens the descriptor with this index in the mix; returns the number of descriptors that it used. */
static int open_one(int place, long serial, const char *directory) {
    char path[4096];
    const char *suffix = place < 50 ? "" : place < 55 ? "-wal" : "-shm";
    if (place < 60) {
        snprintf(path, sizeof path, "%s/state.db%s", directory, suffix);
        must(open(path, O_RDWR | O_CREAT, 0600), path);
    } else if (place < 80) {
        snprintf(path, sizeof path, "%s/session-%ld.json", directory, serial);
        must(open(path, O_RDWR | O_CREAT, 0600), path);
    } else if (place < 90) {
        must(socket(place % 2 ? AF_INET : AF_UNIX, SOCK_STREAM, 0), "socket");
    } else {
        int ends[2];
        must(pipe(ends), "pipe");
        return 2;
    }
    return 1;
}

static int listener(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int server = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    must(bind(server, (struct sockaddr *)&address, length), "bind");
    must(listen(server, 128), "listen");
    must(getsockname(server, (struct sockaddr *)&address, &length), "getsockname");
    return ntohs(address.sin_port);
}

static void until_the_end_of_input(void) {
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "descriptors") && strcmp(argv[1], "idle")) {
        argc--;
        argv++;
    }
    if (argc == 4 && !strcmp(argv[1], "descriptors")) {
        long wanted = atol(argv[2]);
        struct rlimit limit;
        must(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
        limit.rlim_cur = limit.rlim_max;
        must(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
        int port = listener();
        /* 0 to 2 and the listener. */
        long open_now = 4;
        for (long serial = 0; open_now < wanted; serial++)
            open_now += open_one(serial % 95, serial, argv[3]);
        printf("ready %d\n", port);
    } else if (argc == 3 && !strcmp(argv[1], "idle")) {
        for (long left = atol(argv[2]); left > 0; left--)
            if (must(fork(), "fork") == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                    pause();
            }
        printf("ready 0\n");
    } else {
        fprintf(stderr, "server: descriptors N DIRECTORY, or idle N\n");
        return 2;
    }
    fflush(stdout);
    until_the_end_of_input();
    return 0;
}
