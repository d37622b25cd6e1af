/* The floor of reading descriptors: getdents64 of /proc/PID/fd and readlinkat of each entry, nothing else.
 *
 *   floor PID...     the descriptors of these processes
 *   floor --all      of every process: the minimum cost of a search for all holders
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* man 2 getdents64 */
struct entry {
    unsigned long inode;
    long next;
    unsigned short length;
    unsigned char type;
    char name[];
};

static long count, bytes;

static void descriptors(const char *pid) {
    char path[64], target[4096];
    static char buffer[32768];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return;
    long length;
    while ((length = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < length;) {
            struct entry *entry = (struct entry *)(buffer + at);
            at += entry->length;
            if (entry->name[0] == '.')
                continue;
            long size = readlinkat(directory, entry->name, target, sizeof target);
            if (size > 0) {
                count++;
                bytes += size;
            }
        }
    close(directory);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--all")) {
        DIR *processes = opendir("/proc");
        for (struct dirent *entry; processes && (entry = readdir(processes));)
            if (isdigit((unsigned char)entry->d_name[0]))
                descriptors(entry->d_name);
    } else {
        for (int i = 1; i < argc; i++)
            descriptors(argv[i]);
    }
    printf("%ld descriptors, %ld bytes\n", count, bytes);
    return count == 0;
}
