/** A vitest reporter that only counts, for tools/test.mjs; the readable report is vitest's own. */
import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

export interface TestSummary {
  passed: number;
  failed: number;
  /** Every test that did not run, with the reason that it gave. */
  skipped: { name: string; reason: string }[];
}

export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const file = process.env['SHOAL_TEST_SUMMARY'];
    if (file !== undefined) writeFileSync(file, JSON.stringify(count(modules, unhandledErrors.length)));
  }
}

function count(modules: readonly TestModule[], strayErrors: number): TestSummary {
  const summary: TestSummary = { passed: 0, failed: strayErrors, skipped: [] };
  for (const module of modules) {
    // Errors of a whole file or of a hook belong to no test.
    summary.failed += module.errors().length;
    for (const suite of module.children.allSuites()) summary.failed += suite.errors().length;
    for (const test of module.children.allTests()) {
      const result = test.result();
      if (result.state === 'passed') summary.passed += 1;
      else if (result.state === 'skipped') {
        summary.skipped.push({ name: `${module.relativeModuleId} > ${test.fullName}`, reason: result.note ?? 'no reason given' });
      } else summary.failed += 1;
    }
  }
  return summary;
}
