#!/usr/bin/env node
/** Entry of the `shoal` command. */
import { main } from './program.ts';

await main(process.argv.slice(2));
// What is left open (a stdin nobody ends) must not keep us: everything of ours is done.
process.exit();
