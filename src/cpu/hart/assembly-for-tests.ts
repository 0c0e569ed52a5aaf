/** Encodings of the few instructions that tests of the hart are written in. Register numbers, byte offsets. */
const i = (opcode: number, f3: number, rd: number, rs1: number, imm: number): number =>
  (imm << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | opcode;
const s = (f3: number, rs2: number, rs1: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | 0x23;

export const asm = {
  addi: (rd: number, rs1: number, imm: number) => i(0x13, 0, rd, rs1, imm),
  /** rd = sign-extended upper 20 bits. */
  lui: (rd: number, upper: number) => (upper << 12) | (rd << 7) | 0x37,
  slli: (rd: number, rs1: number, shift: number) => i(0x13, 1, rd, rs1, shift),
  srli: (rd: number, rs1: number, shift: number) => i(0x13, 5, rd, rs1, shift),
  add: (rd: number, rs1: number, rs2: number) => (rs2 << 20) | (rs1 << 15) | (rd << 7) | 0x33,
  lb: (rd: number, rs1: number, imm: number) => i(0x03, 0, rd, rs1, imm),
  lh: (rd: number, rs1: number, imm: number) => i(0x03, 1, rd, rs1, imm),
  lw: (rd: number, rs1: number, imm: number) => i(0x03, 2, rd, rs1, imm),
  ld: (rd: number, rs1: number, imm: number) => i(0x03, 3, rd, rs1, imm),
  lwu: (rd: number, rs1: number, imm: number) => i(0x03, 6, rd, rs1, imm),
  sb: (rs2: number, rs1: number, imm: number) => s(0, rs2, rs1, imm),
  sw: (rs2: number, rs1: number, imm: number) => s(2, rs2, rs1, imm),
  sd: (rs2: number, rs1: number, imm: number) => s(3, rs2, rs1, imm),
  jalr: (rd: number, rs1: number, imm: number) => i(0x67, 0, rd, rs1, imm),
  /** Jump to itself. */
  spin: 0x6f,
  csrrw: (rd: number, csr: number, rs1: number) => i(0x73, 1, rd, rs1, csr),
  csrrs: (rd: number, csr: number, rs1: number) => i(0x73, 2, rd, rs1, csr),
  csrrc: (rd: number, csr: number, rs1: number) => i(0x73, 3, rd, rs1, csr),
  csrrwi: (rd: number, csr: number, imm: number) => i(0x73, 5, rd, imm, csr),
  csrrsi: (rd: number, csr: number, imm: number) => i(0x73, 6, rd, imm, csr),
  csrrci: (rd: number, csr: number, imm: number) => i(0x73, 7, rd, imm, csr),
  ecall: 0x73,
  ebreak: 0x0010_0073,
  sret: 0x1020_0073,
  wfi: 0x1050_0073,
  fenceI: 0x0000_100f,
  sfenceVma: (rs1: number, rs2: number) => (0x09 << 25) | (rs2 << 20) | (rs1 << 15) | 0x73,
  cboZero: (rs1: number) => i(0x0f, 2, 0, rs1, 4),
  lrD: (rd: number, rs1: number) => (0x02 << 27) | (rs1 << 15) | (3 << 12) | (rd << 7) | 0x2f,
  scD: (rd: number, rs2: number, rs1: number) => (0x03 << 27) | (rs2 << 20) | (rs1 << 15) | (3 << 12) | (rd << 7) | 0x2f,
  amoaddD: (rd: number, rs2: number, rs1: number) => (rs2 << 20) | (rs1 << 15) | (3 << 12) | (rd << 7) | 0x2f,
  fmvDX: (rd: number, rs1: number) => (0x79 << 25) | (rs1 << 15) | (rd << 7) | 0x53,
} as const;
