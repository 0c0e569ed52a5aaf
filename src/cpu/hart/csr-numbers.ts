/** CSR numbers (RISC-V privileged specification, chapter "CSR Listing") and the fields that a hart without M-mode has. */
export const CSR = {
  FFLAGS: 0x001,
  FRM: 0x002,
  FCSR: 0x003,
  SSTATUS: 0x100,
  SIE: 0x104,
  STVEC: 0x105,
  SCOUNTEREN: 0x106,
  SENVCFG: 0x10a,
  SSCRATCH: 0x140,
  SEPC: 0x141,
  SCAUSE: 0x142,
  STVAL: 0x143,
  SIP: 0x144,
  STIMECMP: 0x14d,
  SATP: 0x180,
  CYCLE: 0xc00,
  TIME: 0xc01,
  INSTRET: 0xc02,
} as const;

/** sstatus, low half. */
export const STATUS_SIE = 1 << 1;
export const STATUS_SPIE = 1 << 5;
export const STATUS_SPP = 1 << 8;
export const STATUS_FS_SHIFT = 13;
export const STATUS_SUM = 1 << 18;
export const STATUS_MXR = 1 << 19;
/** What software may write, FS aside; UBE, VS and XS are 0. */
export const STATUS_WRITABLE = STATUS_SIE | STATUS_SPIE | STATUS_SPP | STATUS_SUM | STATUS_MXR;
/** sstatus, high half: UXL = 2 (64-bit) and SD. */
export const STATUS_HIGH_UXL64 = 2;
export const STATUS_HIGH_SD = 0x8000_0000 | 0;

/** sstatus.FS. */
export const FS_OFF = 0;
export const FS_DIRTY = 3;

export const INTERRUPTS = (1 << 1) | (1 << 5) | (1 << 9);

/** senvcfg: fence-of-I/O-implies-memory, and cbo.zero in user mode. The other fields belong to extensions that are not here. */
export const ENVCFG_FIOM = 1;
export const ENVCFG_CBZE = 1 << 7;

/** scounteren: cycle, time, instret. */
export const COUNTEREN_WRITABLE = 7;

export const SATP_BARE = 0;
export const SATP_SV39 = 8;
