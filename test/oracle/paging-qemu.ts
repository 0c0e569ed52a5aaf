/**
 * QEMU's full-system emulator as the judge of paging. A bare M-mode harness makes loads and stores with mstatus.MPRV, which applies the rules of
 * S- or U-mode to them, and fetches by `mret`; all traps come back to M-mode. Groups are loaded into RAM, results leave by semihosting.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CAUSE } from '../../src/cpu/hart/cause.ts';
import {
  ACCESS_KINDS,
  ACCESSES_PER_GROUP,
  type Access,
  type AccessResult,
  DATA_PAGES,
  ENTRY_OFFSETS,
  type Group,
  type GroupResult,
  TABLES,
} from './paging-cases.ts';
import { GCC, QEMU_SYSTEM } from './toolchain.ts';

const INPUT = 0x8800_0000;
const OUTPUT = 0x8c00_0000;
const ACCESS_WORDS = 3;
const RESULT_WORDS = 4;
const BREAKPOINT = 3n;
const GROUP_WORDS = ENTRY_OFFSETS.length + ACCESSES_PER_GROUP * ACCESS_WORDS;
const RESULT_GROUP_WORDS = ACCESSES_PER_GROUP * RESULT_WORDS + 1;

const accessCase = ({ text, sort }: (typeof ACCESS_KINDS)[number], i: number): string =>
  sort === 'fetch'
    ? `case ${i}: FETCH(); break;`
    : `case ${i}: __asm__ volatile(".option push\\n.option norvc\\ncsrs mstatus, t0\\n${text}\\ncsrc mstatus, t0\\n.option pop" : "+r"(a0) : "r"(a1), "r"(a2), "r"(t0) : "t1", "t2", "memory"); break;`;

const SOURCE = `
typedef unsigned int u32;
typedef unsigned long u64;
u64 trap_state[4]; /* cause, value, where to go on after a fetch */
static const u32 entry_offsets[] = { ${ENTRY_OFFSETS.join(', ')} };
static const u64 data_pages[] = { ${DATA_PAGES.map((page) => `${page}ul`).join(', ')} };
#define ENTRIES ${ENTRY_OFFSETS.length}
#define WRITE_CSR(name, value) __asm__ volatile("csrw " #name ", %0" : : "r"((u64)(value)) : "memory")
#define MPRV (1ul << 17)

__asm__(".section .head, \\"ax\\"\\ncsrr t0, mhartid\\nbnez t0, park\\nla sp, stack_top\\nj start\\npark: wfi\\nj park\\n.text\\n"
        ".balign 4\\n.option push\\n.option norvc\\ntrap:\\n"
        "li t1, 1 << 17\\ncsrc mstatus, t1\\nla t2, trap_state\\n"
        "csrr t1, mcause\\nsd t1, 0(t2)\\ncsrr t1, mtval\\nsd t1, 8(t2)\\n"
        "ld t1, 16(t2)\\nbnez t1, 1f\\ncsrr t1, mepc\\naddi t1, t1, 4\\n1:\\ncsrw mepc, t1\\n"
        "li t1, 3 << 11\\ncsrs mstatus, t1\\nmret\\n.option pop\\n");
extern char trap[];

#define FETCH() __asm__ volatile("la t1, 1f\\nla t2, trap_state\\nsd t1, 16(t2)\\ncsrw mepc, a1\\nmret\\n1:\\nla t2, trap_state\\nsd zero, 16(t2)" \\
  : "+r"(a0) : "r"(a1) : "t1", "t2", "memory")

static u64 make_access(u64 kind, u64 va, u64 value) {
  register u64 a0 __asm__("a0") = 0;
  register u64 a1 __asm__("a1") = va;
  register u64 a2 __asm__("a2") = value;
  register u64 t0 __asm__("t0") = MPRV;
  switch (kind) {
    ${ACCESS_KINDS.map(accessCase).join('\n    ')}
  }
  return a0;
}

static u32 step(u32 hash, u32 word) { return (((hash << 5) | (hash >> 27)) ^ word) * 0x01000193; }

static long semihost(long operation, const void *argument) {
  register long a0 __asm__("a0") = operation;
  register const void *a1 __asm__("a1") = argument;
  __asm__ volatile(".option push\\n.option norvc\\n.balign 16\\nslli x0, x0, 0x1f\\nebreak\\nsrai x0, x0, 7\\n.option pop" : "+r"(a0) : "r"(a1) : "memory");
  return a0;
}

void start(void) {
  u64 *in = (u64 *)${INPUT}ul, *out = (u64 *)${OUTPUT}ul;
  WRITE_CSR(mtvec, trap); WRITE_CSR(pmpaddr0, -1ul); WRITE_CSR(pmpcfg0, 0x1f);
  WRITE_CSR(satp, (8ul << 60) | ${TABLES / 4096});
  for (int i = 0; i < ${DATA_PAGES.length}; i++)
    for (int n = 0; n < 256; n++) { u32 *w = (u32 *)data_pages[i] + 2 * n; w[0] = (u32)(i * 256 + n) << 12 | 10 << 7 | 0x37; w[1] = 0x00100073; }
  for (u64 groups = *in++; groups; groups--) {
    for (int i = 0; i < ENTRIES; i++) *(u64 *)(${TABLES}ul + entry_offsets[i]) = *in++;
    __asm__ volatile("sfence.vma\\nfence.i" : : : "memory");
    for (int i = 0; i < ${ACCESSES_PER_GROUP}; i++, in += 3) {
      u64 mode = in[2] >> 8;
      /* MPP, SUM, MXR */
      __asm__ volatile("csrc mstatus, %0\\ncsrs mstatus, %1" : : "r"(3ul << 11 | 3ul << 18), "r"((mode & 1 ? 0 : 1ul << 11) | (mode >> 1) << 18));
      trap_state[0] = trap_state[1] = 0;
      u64 value = make_access(in[2] & 255, in[0], in[1]);
      u32 hash = 0x811c9dc5;
      for (int k = 0; k < ENTRIES; k++) { u64 e = *(u64 *)(${TABLES}ul + entry_offsets[k]); hash = step(step(hash, e), e >> 32); }
      *out++ = trap_state[0]; *out++ = trap_state[1]; *out++ = value; *out++ = hash;
    }
    u32 hash = 0x811c9dc5;
    for (int i = 0; i < ${DATA_PAGES.length}; i++) for (int k = 0; k < 1024; k++) hash = step(hash, ((u32 *)data_pages[i])[k]);
    *out++ = hash;
  }
  u64 open[] = { (u64)"results", 5, 7 };
  u64 write[] = { semihost(1, open), ${OUTPUT}ul, (u64)out - ${OUTPUT}ul };
  semihost(5, write);
  u64 exit[] = { 0x20026, 0 };
  semihost(0x18, exit);
}
`;

const LINK =
  'SECTIONS { . = 0x80000000; .text : { *(.head) *(.text*) *(.rodata* .srodata*) *(.data* .sdata*) } .bss ALIGN(4096) : { *(.bss* .sbss*) . = ALIGN(16); . += 16384; stack_top = .; } }\n';

/** Compiles the harness; the function then runs any number of groups in one QEMU process. */
export function qemuPaging(folder: string): (groups: readonly Group[]) => GroupResult[] {
  const program = join(folder, 'paging');
  writeFileSync(`${program}.c`, SOURCE);
  writeFileSync(`${program}.ld`, LINK);
  const bare = [
    '-ffreestanding',
    '-nostdlib',
    '-static',
    '-fno-pic',
    '-mcmodel=medany',
    '-fno-stack-protector',
    '-fno-tree-loop-distribute-patterns',
  ];
  execFileSync(GCC, [
    '-O1',
    '-march=rv64gc',
    '-mabi=lp64d',
    ...bare,
    `-Wl,-T,${program}.ld`,
    '-Wl,--build-id=none',
    '-Wl,--no-warn-rwx-segments',
    '-o',
    program,
    `${program}.c`,
  ]);
  return (groups) => {
    const input = join(folder, 'groups');
    writeFileSync(input, encode(groups));
    // With one processor QEMU makes an AMO of a load and a store, and raises the load's page fault.
    const machine = [
      '-M',
      'virt',
      '-smp',
      '2',
      '-m',
      '256',
      '-bios',
      'none',
      '-display',
      'none',
      '-monitor',
      'none',
      '-serial',
      'none',
    ];
    const files = ['-kernel', program, '-device', `loader,file=${input},addr=${INPUT},force-raw=on`];
    const semihosting = ['-semihosting-config', 'enable=on,target=native'];
    const run = spawnSync(QEMU_SYSTEM, [...machine, ...files, ...semihosting], {
      cwd: folder,
      timeout: 120_000,
      encoding: 'utf8',
    });
    if (run.status !== 0) throw new Error(`${QEMU_SYSTEM} ended with ${run.status ?? run.signal}: ${run.stderr}`);
    const words = new BigUint64Array(new Uint8Array(readFileSync(join(folder, 'results'))).buffer);
    if (words.length !== groups.length * RESULT_GROUP_WORDS)
      throw new Error(`${QEMU_SYSTEM} gave ${words.length} words of results`);
    return groups.map((group, i) => decode(words.subarray(i * RESULT_GROUP_WORDS, (i + 1) * RESULT_GROUP_WORDS), group));
  };
}

function encode(groups: readonly Group[]): Uint8Array {
  const words = new BigUint64Array(1 + groups.length * GROUP_WORDS);
  words[0] = BigInt(groups.length);
  let at = 1;
  for (const { entries, accesses } of groups) {
    words.set(entries, at);
    at += entries.length;
    for (const { kind, va, value, user, sum, mxr } of accesses) {
      const mode = (user ? 1 : 0) | (sum ? 2 : 0) | (mxr ? 4 : 0);
      words.set([va, value, BigInt(kind | (mode << 8))], at);
      at += ACCESS_WORDS;
    }
  }
  return new Uint8Array(words.buffer);
}

function decode(words: BigUint64Array, group: Group): GroupResult {
  const accesses = group.accesses.map((access, i) => {
    const [cause, trapValue, value, hash] = words.subarray(i * RESULT_WORDS, (i + 1) * RESULT_WORDS);
    return corrected(access, {
      cause: Number(cause),
      trapValue: cause === BREAKPOINT ? 0n : trapValue,
      value,
      tableHash: Number(hash),
    });
  });
  return { accesses, dataHash: Number(words[RESULT_GROUP_WORDS - 1]) };
}

/**
 * Outside RAM QEMU 7.2 makes an AMO of a load and a store, and a misaligned load of aligned ones; both show in the access fault. The
 * specification has a store/AMO access fault, and the address of the access.
 */
function corrected({ kind, va }: Access, result: AccessResult): AccessResult {
  if (result.cause !== CAUSE.LOAD_ACCESS) return result;
  const { text, sort } = ACCESS_KINDS[kind];
  const cause = sort === 'atomic' && !text.startsWith('lr') ? CAUSE.STORE_ACCESS : result.cause;
  const near = va - result.trapValue;
  return { ...result, cause, trapValue: near >= 0n && near < 8n ? va : result.trapValue };
}
