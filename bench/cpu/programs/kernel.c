/* What a program asks of the kernel: system calls that do nothing, pages that are touched first, processes. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "items.h"

#define CALLS 1000000
#define PAGE 4096
#define MAPPED (8u << 20)
#define MAPPINGS 30
#define FORKS 500
/* Written before the forks, so that there is something to share. */
#define PARENT (2u << 20)

static uint64_t system_calls(void) {
  uint64_t answered = 0;
  for (int i = 0; i < CALLS; i++) answered += syscall(SYS_getppid) > 0;
  return answered;
}

static uint64_t page_faults(void) {
  uint64_t checksum = 0;
  for (int i = 0; i < MAPPINGS; i++) {
    uint8_t *at = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) abort();
    /* The guests have no huge pages either. */
    madvise(at, MAPPED, MADV_NOHUGEPAGE);
    for (size_t page = 0; page < MAPPED; page += PAGE) at[page] = i;
    for (size_t page = 0; page < MAPPED; page += PAGE) checksum = mix(checksum, at[page] + at[page + 1]);
    munmap(at, MAPPED);
  }
  return checksum;
}

static uint8_t parent[PARENT];

static void prepare_forks(void) {
  for (size_t page = 0; page < PARENT; page += PAGE) parent[page] = page / PAGE;
}

/* Each child writes a few pages that it shares, and ends. */
static uint64_t forks(void) {
  uint64_t checksum = 0;
  for (int i = 0; i < FORKS; i++) {
    pid_t child = fork();
    if (child < 0) abort();
    if (child == 0) {
      for (size_t page = 0; page < 8; page++) parent[page * PAGE]++;
      _exit(parent[7 * PAGE]);
    }
    int status;
    if (waitpid(child, &status, 0) != child) abort();
    checksum = mix(checksum, WEXITSTATUS(status));
  }
  return checksum;
}

const struct item syscall_item = {"syscall", NULL, system_calls};
const struct item page_fault_item = {"page-fault", NULL, page_faults};
const struct item fork_item = {"fork", prepare_forks, forks};
