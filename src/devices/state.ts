/**
 * What every device's `save` and `restore` share: a state names its device and its version, and is refused when
 * it is another's. The data inside is plain and structured-clonable.
 */
import { ShoalError } from '../base/errors.ts';
import type { DeviceState } from './device.ts';

/** The data of `state`, once it is certain that `name` wrote it in `version`. Throws `ShoalError('bad-image')`. */
export function stateData<T>(state: DeviceState, name: string, version: number): T {
  if (state.name !== name || state.version !== version) {
    throw new ShoalError(
      'bad-image',
      `The saved state is of ${state.name} version ${state.version}, but ${name} version ${version} is needed: save it again with this version.`,
    );
  }
  return state.data as T;
}
