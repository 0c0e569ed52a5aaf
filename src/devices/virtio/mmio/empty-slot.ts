/** A virtio slot without a device: device type 0, which a driver passes over (virtio 1.2, 4.2.2.1). */
import type { Device, DeviceState } from '../../device.ts';
import * as registers from './registers.ts';

export class EmptySlot implements Device {
  readonly name = 'empty';

  read(offset: number, size: number): number {
    if (size !== 4) return 0;
    if (offset === registers.MAGIC) return registers.MAGIC_VALUE;
    return offset === registers.VERSION ? registers.VERSION_VALUE : 0;
  }

  write(): void {}

  reset(): void {}

  save(): DeviceState {
    return { name: this.name, version: 1, data: null };
  }

  restore(): void {}
}
