/**
 * Kernel parameters of our images, each with its reason. Measured on Linux 6.12: half of a stock boot is skipped, and an
 * idle guest wakes up about every five seconds.
 */

/** Parts of the kernel's start that take long and that a guest does without. */
const SKIPPED_INITCALLS = [
  // Self-tests: jitter entropy, key derivation.
  ...['jent_mod_init', 'crypto_kdf108_init'],
  // Names for trace events.
  'trace_eval_init',
  // Checks the certificate that signs modules; ours are unsigned.
  'load_system_certificate_list',
  // Times misaligned accesses with a busy loop. They are native here, as user space assumes anyway.
  'check_unaligned_access_all_cpus',
  // /sys/kernel/slab, encrypted keys, and congestion control written in BPF (which would parse all type information).
  ...['slab_sysfs_init', 'init_encrypted', 'bpf_tcp_ca_kfunc_init', 'bpf_dummy_struct_ops_init'],
];

const PARAMETERS = [
  // Messages go to both; /dev/console is hvc0, which exists only once its driver is loaded. `quiet`: each character costs.
  'console=ttyS0',
  'console=hvc0',
  'quiet',
  'cryptomgr.notests',
  `initcall_blacklist=${SKIPPED_INITCALLS.join(',')}`,
  // Three levels of page tables reach far enough.
  'no4lvl',
  // A guest that is idle must sleep: no watchdog timers. Guest time stops while it is paused, so stalls are no faults.
  'nowatchdog',
  'rcupdate.rcu_cpu_stall_suppress=1',
  // Their bookkeeping wakes an idle guest every two seconds; with one tenant a guest, nobody reads it.
  'psi=0',
  'cgroup_disable=memory',
  // Free pages are reported to the host one by one, not only in blocks of 2 MiB: measured, 32 of 32 freed MiB come back, not 12.
  'page_reporting.page_reporting_order=0',
  // Huge pages would make guests take memory that they do not use.
  'transparent_hugepage=never',
];

export const COMMAND_LINE = PARAMETERS.join(' ');

/** Makes our init mount this device and go on there. */
export const rootParameter = (device: string): string => `shoal.root=${device}`;
