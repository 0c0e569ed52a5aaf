/**
 * Zicsr, Zifencei, Zicboz, fences and the supervisor's instructions. Their work is done by the hart; here is only how they leave.
 *
 * `mret` has no row: there is no machine mode, so it is illegal, like every other reserved SYSTEM encoding.
 */
import { CSR, FIXED, I } from './definition.ts';

const RS1 = 0x000f_8000;
const RS2 = 0x01f0_0000;

export const SYSTEM = {
  csrrw: CSR(1, (e) => e.csr(1)),
  csrrs: CSR(2, (e) => e.csr(2)),
  csrrc: CSR(3, (e) => e.csr(3)),
  csrrwi: CSR(5, (e) => e.csr(5)),
  csrrsi: CSR(6, (e) => e.csr(6)),
  csrrci: CSR(7, (e) => e.csr(7)),

  /** Reserved settings of the fields are to be taken as a normal fence, and `pause` is one of its hints. */
  fence: I(0x0f, 0, () => {}),
  /** Code pages are never writable while decoded slots of theirs are in use; all that is left is to look again. */
  'fence.i': I(0x0f, 1, (e) => e.refetch()),
  'cbo.zero': FIXED('R', 0x0040_200f, RS1, (e) => e.cboZero()),

  ecall: FIXED('NONE', 0x0000_0073, 0, (e) => e.exit('ECALL')),
  ebreak: FIXED('NONE', 0x0010_0073, 0, (e) => e.exit('EBREAK')),
  sret: FIXED('NONE', 0x1020_0073, 0, (e) => e.exit('SRET')),
  wfi: FIXED('NONE', 0x1050_0073, 0, (e) => e.exit('WFI')),
  'sfence.vma': FIXED('R', 0x1200_0073, RS1 | RS2, (e) => e.sfence()),
};
