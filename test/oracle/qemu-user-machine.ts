/**
 * QEMU's user-mode emulator as a `Machine`: one process runs thousands of programs.
 *
 * A static harness reads them all from standard input. A program ends in a signal; the handler notes the registers from
 * the signal's context, puts the next program's registers in their place, and returns into it.
 */
import { spawnSync } from 'node:child_process';
import { CODE, CODE_BYTES, DATA_START, DATA_WORDS, type Final, type Machine, type Program } from './program.ts';
import { compileStatic, QEMU_USER } from './toolchain.ts';

/** The extensions under test and no other: version 7.2 has the Zb* ones on by default. */
const CPU = 'rv64,zba=false,zbb=false,zbc=false,zbs=false';
const HEADER_BYTES = 24;
const REGISTERS_BYTES = 512;
const FINAL_BYTES = 24 + REGISTERS_BYTES;

const SOURCE = `
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

struct program { uint32_t code_offset, code_length, fcsr, data_seed, pad[2]; uint64_t x[32], f[32]; };
struct final { uint32_t stop, hash; uint64_t pc; uint32_t fcsr, pad; uint64_t x[32], f[32]; };

static char *next, *end;
static struct final *out, *finals;
static int started;
uint64_t saved_tp;

static void leave(void) {
  char *p = (char *)finals, *e = (char *)out;
  while (p < e) { ssize_t n = write(1, p, e - p); if (n <= 0) _exit(1); p += n; }
  _exit(0);
}

/* The programs change gp and tp, which compiled code relies on. */
extern void entry(int, siginfo_t *, void *);
__asm__(".text\\n.globl entry\\nentry:\\n.option push\\n.option norelax\\nla gp, __global_pointer$\\n.option pop\\n"
        "la t0, saved_tp\\nld tp, 0(t0)\\ntail handle\\n");

void handle(int signal, siginfo_t *info, void *context) {
  mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
  uint32_t *data = (uint32_t *)${DATA_START}ul;
  if (started) {
    uint32_t hash = 0x811c9dc5;
    for (int i = 0; i < ${DATA_WORDS}; i++) hash = (((hash << 5) | (hash >> 27)) ^ data[i]) * 0x01000193;
    out->stop = signal; out->hash = hash; out->pc = m->__gregs[0]; out->fcsr = m->__fpregs.__d.__fcsr;
    memcpy(out->x, m->__gregs, 256); memcpy(out->f, m->__fpregs.__d.__f, 256);
    out++;
  }
  started = 1;
  if (next >= end) leave();
  struct program *p = (struct program *)next;
  char *code = (char *)${CODE}ul + p->code_offset;
  memcpy(code, p + 1, p->code_length);
  next += sizeof *p + ((p->code_length + 7) & ~7u);
  __builtin___clear_cache(code, code + p->code_length);
  uint32_t state = p->data_seed | 1;
  for (int i = 0; i < ${DATA_WORDS}; i++) { state ^= state << 13; state ^= state >> 17; state ^= state << 5; data[i] = state; }
  memcpy(m->__gregs, p->x, 256); memcpy(m->__fpregs.__d.__f, p->f, 256);
  m->__gregs[0] = (uint64_t)code; m->__fpregs.__d.__fcsr = p->fcsr;
}

int main(void) {
  uint32_t header[2];
  if (read(0, header, 8) != 8) return 1;
  next = malloc(header[0]); end = next + header[0];
  for (char *p = next; p < end;) { ssize_t n = read(0, p, end - p); if (n <= 0) return 1; p += n; }
  out = finals = calloc(header[1], sizeof *out);
  mmap((void *)${CODE}ul, ${CODE_BYTES}, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mmap((void *)${DATA_START & ~4095}ul, 8192, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
  sigaltstack(&stack, 0);
  __asm__("mv %0, tp" : "=r"(saved_tp));
  struct sigaction action = { .sa_sigaction = entry, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
  int signals[] = { SIGILL, SIGTRAP, SIGBUS, SIGSEGV };
  for (int i = 0; i < 4; i++) sigaction(signals[i], &action, 0);
  __asm__ volatile("ebreak");
  return 1;
}
`;

export function qemuUserMachine(folder: string): Machine {
  const program = compileStatic(folder, 'programs', SOURCE, ['-fno-stack-protector', '-Wl,-Ttext-segment=0x10000000']);
  return {
    run(programs) {
      const input = encode(programs);
      const result = spawnSync(QEMU_USER, ['-cpu', CPU, program], { input, maxBuffer: 2 ** 30 });
      if (result.status !== 0 || result.stdout.length !== programs.length * FINAL_BYTES) {
        throw new Error(`${QEMU_USER} ended with ${result.status ?? result.signal}: ${result.stderr}`);
      }
      const bytes = new Uint8Array(result.stdout).buffer;
      return programs.map((_, i) => decodeFinal(bytes, i * FINAL_BYTES));
    },
  };
}

function encode(programs: readonly Program[]): Buffer {
  const sizes = programs.map(({ code }) => HEADER_BYTES + REGISTERS_BYTES + ((code.length + 7) & ~7));
  const total = sizes.reduce((a, b) => a + b, 0);
  const bytes = new Uint8Array(8 + total);
  new Uint32Array(bytes.buffer, 0, 2).set([total, programs.length]);
  let at = 8;
  programs.forEach(({ code, codeOffset, fcsr, dataSeed, x, f }, i) => {
    const words = new Uint32Array(bytes.buffer, at, (HEADER_BYTES + REGISTERS_BYTES) / 4);
    words.set([codeOffset, code.length, fcsr, dataSeed]);
    words.set(x, HEADER_BYTES / 4);
    words.set(f, HEADER_BYTES / 4 + 64);
    bytes.set(code, at + HEADER_BYTES + REGISTERS_BYTES);
    at += sizes[i];
  });
  return Buffer.from(bytes.buffer);
}

function decodeFinal(bytes: ArrayBuffer, at: number): Final {
  const [stop, hash, pc, , fcsr] = new Uint32Array(bytes, at, 5);
  const x = new Uint32Array(bytes, at + 24, 64);
  return { stop, hash, pc, fcsr, x, f: new Uint32Array(bytes, at + 24 + 256, 64) };
}
