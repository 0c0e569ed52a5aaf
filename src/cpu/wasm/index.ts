/** The typed WebAssembly encoder: expressions (`i64.add(a, b)`), functions (`Fn`) and modules (`Mod`). */
export {
  type Callee,
  call,
  type F32,
  type F64,
  type Global,
  type I32,
  type I64,
  konst,
  type LoadOp,
  type Local,
  type StoreOp,
  select,
  type T,
  type V,
  when,
  type X,
} from './expression.ts';
export { Fn, type Hint, type Label } from './function.ts';
export { Mod } from './module.ts';
export { f32, f64, i32, i64 } from './operators.ts';
