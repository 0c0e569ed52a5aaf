#!/usr/bin/env node
/** The `shoal` command, of a checkout (runs src/ as it is) and of the published package (runs dist/). */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { flagsOf, launch } from './launch.mjs';

const source = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const compiled = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
// Node strips no types below node_modules, so an installed package never runs its sources.
const entry = existsSync(source) ? source : compiled;
const args = process.argv.slice(2);
launch(entry, args, flagsOf(args[0]));
