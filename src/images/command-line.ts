/** Kernel parameters of our images, each with its reason. Measured on Linux 6.12. */
const PARAMETERS = [
  // Messages go to both; /dev/console is hvc0, which exists only once its driver is loaded. `quiet`: each character costs.
  'console=ttyS0',
  'console=hvc0',
  'quiet',
  // Self-tests of the crypto code, jitter entropy and names for trace events are most of a boot, and nobody needs them.
  'cryptomgr.notests',
  'initcall_blacklist=jent_mod_init,trace_eval_init',
  // Three levels of page tables reach far enough.
  'no4lvl',
  // A guest that is idle must sleep: no watchdog timers. Guest time stops while it is paused, so stalls are no faults.
  'nowatchdog',
  'rcupdate.rcu_cpu_stall_suppress=1',
  // Huge pages would make guests take memory that they do not use.
  'transparent_hugepage=never',
];

export const COMMAND_LINE = PARAMETERS.join(' ');

/** Makes our init mount this device and go on there. */
export const rootParameter = (device: string): string => `shoal.root=${device}`;
