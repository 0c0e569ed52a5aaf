import { runCommand } from './state/run-command.ts';

console.log(JSON.stringify(await runCommand()));
process.exit(0);
