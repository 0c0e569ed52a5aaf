/*
 * Waits for SIGUSR1, asks for 16 random bytes for the first time, and writes them in hexadecimal into the file that it is told: `first-random FILE`.
 * The file is there, and empty, when it waits.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

int main(int argc, char **argv) {
  sigset_t signals;
  int signal;
  unsigned char bytes[16];
  if (argc < 2) return 64;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  FILE *file = fopen(argv[1], "w");
  sigwait(&signals, &signal);
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return 1;
  for (unsigned i = 0; i < sizeof bytes; i++) fprintf(file, "%02x", bytes[i]);
  return fclose(file) != 0;
}
