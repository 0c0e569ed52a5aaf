/** The typed WebAssembly encoder: expressions (`i64.add(a, b)`), functions (`Fn`) and modules (`Mod`). */
export {
  type Callee,
  call,
  type I32,
  type I64,
  type LoadOp,
  type Local,
  type StoreOp,
  select,
  type T,
  type V,
  when,
  type X,
} from './expression.ts';
export { Fn, type Label } from './function.ts';
export { Mod } from './module.ts';
export { f32, f64, i32, i64 } from './operators.ts';
export { i8x16, i64x2, type V128, v128 } from './vector.ts';
