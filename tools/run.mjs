/** `node tools/run.mjs file.ts args…` runs a TypeScript file of the checkout as `shoal` itself would run: same Node, same flags. */
import { launch } from './launch.mjs';

const [entry, ...args] = process.argv.slice(2);
if (entry === undefined) {
  process.stderr.write('usage: node tools/run.mjs file.ts [arguments]\n');
  process.exit(2);
}
launch(entry, args);
