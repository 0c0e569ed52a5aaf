/** What every benchmark prints: a table for people, and under --json one last line for machines. */

export interface Check {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The number. `atMost` bars are upper bounds, the others lower. */
  readonly bar: number;
  readonly atMost: boolean;
}

const holds = (check: Check): boolean => (check.atMost ? check.value <= check.bar : check.value >= check.bar);

/** Prints, and sets the exit code to 1 when a bar is missed. */
export function report(title: string, checks: readonly Check[], details: Record<string, unknown> = {}): void {
  const json = process.argv.includes('--json');
  const out = json ? process.stderr : process.stdout;
  out.write(`${title}\n`);
  for (const check of checks) {
    const bar = `${check.atMost ? '≤' : '≥'} ${check.bar} ${check.unit}`;
    out.write(
      `  ${holds(check) ? 'ok  ' : 'MISS'} ${check.name.padEnd(48)} ${check.value.toPrecision(4).padStart(10)} ${check.unit}  (bar ${bar})\n`,
    );
  }
  if (json) {
    const rows = checks.map((check) => ({
      name: check.name,
      value: check.value,
      unit: check.unit,
      bar: check.bar,
      ok: holds(check),
    }));
    process.stdout.write(`${JSON.stringify({ ...details, checks: rows })}\n`);
  }
  if (!checks.every(holds)) process.exitCode = 1;
}
