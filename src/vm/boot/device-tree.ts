/**
 * Writes flattened device trees (Devicetree Specification 0.4, chapter 5), and the one tree that describes
 * Shoal's machine. Not a parser: nothing here reads a tree.
 */
import {
  CBO_ZERO_BLOCK,
  GENERATION_BASE,
  GENERATION_IRQ,
  GENERATION_SIZE,
  PLIC_BASE,
  PLIC_SIZE,
  PLIC_SOURCES,
  RAM_BASE,
  RTC_BASE,
  RTC_IRQ,
  RTC_SIZE,
  TIMEBASE_HZ,
  UART_BASE,
  UART_IRQ,
  UART_SIZE,
  VIRTIO_BASE,
  VIRTIO_COUNT,
  VIRTIO_IRQ,
  VIRTIO_STRIDE,
} from '../../layout/machine.ts';

const FDT_BEGIN_NODE = 1;
const FDT_END_NODE = 2;
const FDT_PROP = 3;
const FDT_END = 9;
const HEADER_SIZE = 40;
const RESERVE_MAP_SIZE = 16;

/** Cells (32-bit numbers), strings (each ends with a zero byte), raw bytes, or nothing. */
type PropertyValue = readonly number[] | string | readonly string[] | Uint8Array | null;

/** Builds the structure and strings blocks; every 64-bit quantity is given as two cells, see `cells64`. */
class FlatTree {
  #words: number[] = [];
  #strings: number[] = [];
  #offsets = new Map<string, number>();

  node(name: string, properties: Record<string, PropertyValue>, children: () => void = () => {}): void {
    this.#words.push(FDT_BEGIN_NODE);
    this.#bytes([...Buffer.from(`${name}\0`)]);
    for (const [key, value] of Object.entries(properties)) this.#property(key, value);
    children();
    this.#words.push(FDT_END_NODE);
  }

  finish(): Uint8Array {
    const structure = [...this.#words, FDT_END];
    const structureOffset = HEADER_SIZE + RESERVE_MAP_SIZE;
    const stringsOffset = structureOffset + structure.length * 4;
    const total = stringsOffset + this.#strings.length;
    const bytes = new Uint8Array(total);
    const view = new DataView(bytes.buffer);
    const header = [
      0xd00dfeed,
      total,
      structureOffset,
      stringsOffset,
      HEADER_SIZE,
      17,
      16,
      0,
      this.#strings.length,
      structure.length * 4,
    ];
    header.forEach((word, index) => {
      view.setUint32(index * 4, word);
    });
    structure.forEach((word, index) => {
      view.setUint32(structureOffset + index * 4, word >>> 0);
    });
    bytes.set(this.#strings, stringsOffset);
    return bytes;
  }

  #property(name: string, value: PropertyValue): void {
    let bytes: number[];
    if (value === null) bytes = [];
    else if (typeof value === 'string') bytes = [...Buffer.from(`${value}\0`)];
    else if (value instanceof Uint8Array) bytes = [...value];
    else if (typeof value[0] === 'string') bytes = [...Buffer.from(`${value.join('\0')}\0`)];
    else
      bytes = (value as number[]).flatMap((cell) => [(cell >>> 24) & 255, (cell >>> 16) & 255, (cell >>> 8) & 255, cell & 255]);
    this.#words.push(FDT_PROP, bytes.length, this.#stringOffset(name));
    this.#bytes(bytes);
  }

  #stringOffset(name: string): number {
    const known = this.#offsets.get(name);
    if (known !== undefined) return known;
    const offset = this.#strings.length;
    this.#strings.push(...Buffer.from(`${name}\0`));
    this.#offsets.set(name, offset);
    return offset;
  }

  #bytes(bytes: number[]): void {
    for (let i = 0; i < bytes.length; i += 4) {
      this.#words.push(((bytes[i] ?? 0) << 24) | ((bytes[i + 1] ?? 0) << 16) | ((bytes[i + 2] ?? 0) << 8) | (bytes[i + 3] ?? 0));
    }
  }
}

const cells64 = (value: number): number[] => [Math.floor(value / 2 ** 32), value >>> 0];

export interface MachineTree {
  /** Bytes of RAM from `RAM_BASE`. */
  readonly memoryBytes: number;
  readonly commandLine: string;
  /** Guest-physical range of the initramfs, end exclusive. */
  readonly initrd?: { readonly start: number; readonly end: number };
  /** Random bytes for the guest's kernel, different in every VM. */
  readonly rngSeed: Uint8Array;
}

const CPU_INTERRUPT_CONTROLLER = 1;
const PLIC = 2;
const SUPERVISOR_EXTERNAL = 9;
const MACHINE_EXTERNAL = 11;
const EXTENSIONS = ['i', 'm', 'a', 'f', 'd', 'c', 'zicboz', 'zicntr', 'zicsr', 'zifencei', 'sstc'];

export function machineDeviceTree(machine: MachineTree): Uint8Array {
  const tree = new FlatTree();
  const size = { '#address-cells': [2], '#size-cells': [2] };
  tree.node('', { ...size, compatible: 'riscv-virtio', model: 'shoal,virt' }, () => {
    tree.node('chosen', {
      bootargs: machine.commandLine,
      'stdout-path': `/soc/serial@${UART_BASE.toString(16)}`,
      'rng-seed': machine.rngSeed,
      ...(machine.initrd && {
        'linux,initrd-start': cells64(machine.initrd.start),
        'linux,initrd-end': cells64(machine.initrd.end),
      }),
    });
    tree.node(`memory@${RAM_BASE.toString(16)}`, {
      device_type: 'memory',
      reg: [...cells64(RAM_BASE), ...cells64(machine.memoryBytes)],
    });
    cpus(tree);
    tree.node('soc', { ...size, compatible: 'simple-bus', ranges: null }, () => soc(tree));
  });
  return tree.finish();
}

function cpus(tree: FlatTree): void {
  tree.node('cpus', { '#address-cells': [1], '#size-cells': [0], 'timebase-frequency': [TIMEBASE_HZ] }, () => {
    const cpu = {
      device_type: 'cpu',
      reg: [0],
      status: 'okay',
      compatible: 'riscv',
      'riscv,isa-base': 'rv64i',
      'riscv,isa-extensions': EXTENSIONS,
      'riscv,isa': 'rv64imafdc_zicboz_zicntr_zicsr_zifencei_sstc',
      'riscv,cboz-block-size': [CBO_ZERO_BLOCK],
      'mmu-type': 'riscv,sv39',
    };
    tree.node('cpu@0', cpu, () => {
      tree.node('interrupt-controller', {
        '#interrupt-cells': [1],
        'interrupt-controller': null,
        compatible: 'riscv,cpu-intc',
        phandle: [CPU_INTERRUPT_CONTROLLER],
      });
    });
  });
}

function soc(tree: FlatTree): void {
  const interrupt = (irq: number) => ({ 'interrupt-parent': [PLIC], interrupts: [irq] });
  tree.node(`interrupt-controller@${PLIC_BASE.toString(16)}`, {
    compatible: ['sifive,plic-1.0.0', 'riscv,plic0'],
    reg: [...cells64(PLIC_BASE), ...cells64(PLIC_SIZE)],
    '#interrupt-cells': [1],
    '#address-cells': [0],
    'interrupt-controller': null,
    'interrupts-extended': [CPU_INTERRUPT_CONTROLLER, MACHINE_EXTERNAL, CPU_INTERRUPT_CONTROLLER, SUPERVISOR_EXTERNAL],
    'riscv,ndev': [PLIC_SOURCES],
    phandle: [PLIC],
  });
  tree.node(`rtc@${RTC_BASE.toString(16)}`, {
    compatible: 'google,goldfish-rtc',
    reg: [...cells64(RTC_BASE), ...cells64(RTC_SIZE)],
    ...interrupt(RTC_IRQ),
  });
  tree.node(`vmgenid@${GENERATION_BASE.toString(16)}`, {
    compatible: 'microsoft,vmgenid',
    reg: [...cells64(GENERATION_BASE), ...cells64(GENERATION_SIZE)],
    ...interrupt(GENERATION_IRQ),
  });
  tree.node(`serial@${UART_BASE.toString(16)}`, {
    compatible: 'ns16550a',
    reg: [...cells64(UART_BASE), ...cells64(UART_SIZE)],
    'clock-frequency': [3_686_400],
    ...interrupt(UART_IRQ),
  });
  for (let slot = 0; slot < VIRTIO_COUNT; slot++) {
    const base = VIRTIO_BASE + slot * VIRTIO_STRIDE;
    tree.node(`virtio@${base.toString(16)}`, {
      compatible: 'virtio,mmio',
      reg: [...cells64(base), ...cells64(VIRTIO_STRIDE)],
      ...interrupt(VIRTIO_IRQ + slot),
    });
  }
}
