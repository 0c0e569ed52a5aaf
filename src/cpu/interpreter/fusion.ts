/**
 * Pairs of instructions that are one operation of the interpreter: one dispatch for two instructions.
 *
 * These are the 64 most frequent pairs of a Debian kernel's boot to a shell, most frequent first, named by the variants of
 * operations.ts. They are found, not designed: a pair needs no code of its own, its handler is that of the first instruction and
 * then that of the second. Measured on that boot: 0.84 × the time; 256 pairs gain no more and compile longer. The first of a pair may be
 * a branch (the pair is then the case of not taking it) but not what always leaves.
 */
const PAIRS = `
  c.ld+c.ld sd+sd c.sd+c.sd c.add+c.add c.sd+c.addi c.addi+c.sd c.addi+c.addi c.ld+c.addi c.addi+c.jalr,x0 auipc+jalr
  c.add+c.ld lbu+c.addi c.addi+c.add c.add+auipc auipc+addi ld+ld beq+lbu c.andi+c.bne lbu+c.bne c.addi+bne c.ld+c.add
  bne+ld c.addi+c.andi c.add+c.addi c.bne+lbu add+beq slli+srli c.add+add c.addi+c.ld beq+c.addi c.bne+add c.addi+bltu
  c.add+beq c.add+bgeu c.slli+c.add srli+c.add sub+and bgeu+c.ld bgeu+c.lw slli+c.add c.bne+c.ld c.addi+c.bne lbu+lbu
  subw+bgeu ld+c.addi c.addi+sd c.lw+subw addi+c.add sd+bne bne+c.add bne+c.ld c.ld+slli bltu+c.ld c.addiw+bne
  c.addi+c.jal,x0 c.andi+beq lbu+c.andi c.addi+beq lbu+beq c.add+bltu bne+lbu c.ld+lbu add+c.add c.lw+c.addi
`;

export const FUSED_PAIRS: readonly string[] = PAIRS.trim().split(/\s+/);
